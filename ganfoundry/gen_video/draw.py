"""Drawing the frames of a film: latents of many frames in one batch, then the cells of each frame together again.

Letters: M cells of the grid, C channels, H and W height and width of an image.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from ganfoundry.drawing import draw_batches
from ganfoundry.gen_video.contents import Frame, NoiseCircle
from ganfoundry.latent_options import Batch


def draw_frames(
    G: Any, frames: Iterable[Frame], cells: int, *, batch: int, bits: int = 8, circle: NoiseCircle | None = None
) -> Iterator[np.ndarray]:
    """Yields the cells of each frame, uint8 or uint16 [M, C, H, W]. Memory does not grow with the number of frames.

    Args:
        G: The network.
        frames: The frames, of `cells` latents each.
        cells: M.
        batch: Number of images that the network draws at a time.
        bits: Bits of a channel, 8 or 16.
        circle: Noise maps for frames that have an angle.
    """
    for (psi, angle), group in itertools.groupby(frames, key=lambda frame: (frame.psi, frame.angle)):
        if angle is not None:
            assert circle is not None
            circle.turn(angle)
        batches = draw_batches(G, in_batches(group, batch), truncation_psi=psi, bits=bits)
        images = itertools.chain.from_iterable(batches)
        while drawn := list(itertools.islice(images, cells)):
            yield np.stack(drawn)


def in_batches(frames: Iterable[Frame], size: int) -> Iterator[Batch]:
    """Yields the latents of all cells of all frames in batches of `size`; the last may be smaller."""
    kept: list[Frame] = []
    for frame in frames:
        kept.append(frame)
        while sum(len(part.points) for part in kept) >= size:
            space, points, c = joined(kept)
            yield Batch(0, space, points[:size], c[:size])
            kept = [frame._replace(points=points[size:], c=c[size:])] if len(points) > size else []
    if kept:
        yield Batch(0, *joined(kept))


def joined(frames: list[Frame]) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Returns the space, points and labels of frames as one batch."""
    return frames[0].space, torch.cat([frame.points for frame in frames]), torch.cat([frame.c for frame in frames])
