"""Drawing the frames of a film: latents of many frames in one batch, then the cells of each frame together again.

Letters: M cells of the grid, C channels, H and W height and width of an image.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ganfoundry.drawing import draw_points
from ganfoundry.gen_video.frames import Frame, NoiseCircle
from ganfoundry.points import Point


def draw_frames(
    G: Any,
    frames: Iterable[Frame],
    cells: int,
    *,
    batch: int,
    bits: int = 8,
    noise_mode: str = 'const',
    circle: NoiseCircle | None = None,
) -> Iterator[np.ndarray]:
    """Yields the cells of each frame, uint8 or uint16 [M, C, H, W]. Memory does not grow with the number of frames.

    Args:
        G: The network.
        frames: The frames, of `cells` latents each.
        cells: M.
        batch: Number of images that the network draws at a time.
        bits: Bits of a channel, 8 or 16.
        noise_mode: 'const' or 'none'.
        circle: Noise maps for frames that have an angle.
    """
    for (psi, angle), group in itertools.groupby(frames, key=lambda frame: (frame.psi, frame.angle)):
        if angle is not None:
            assert circle is not None
            circle.turn(angle)
        points = itertools.chain.from_iterable(map(points_of, group))
        drawn = draw_points(G, points, truncation_psi=psi, noise_mode=noise_mode, bits=bits, batch=batch)
        while images := [part.image for part in itertools.islice(drawn, cells)]:
            yield np.stack(images)


def points_of(frame: Frame) -> list[Point]:
    """Returns the cells of a frame as points."""
    return [Point('frame', {}, frame.space, *latent, 0) for latent in zip(frame.points, frame.c, strict=True)]
