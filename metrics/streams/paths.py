"""Streams of pairs of images: the ends of short steps on paths through the latent space, and their perceptual distance.

The generator is on the other side of `Paths`, which yields the pairs; this module prepares them for LPIPS.

Letters: N pairs of a batch, C, H, W of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch

from metrics.spec import MoveSpec, PathSpec
from metrics.streams.images import to_rgb
from metrics.streams.shares import Observer

EPSILON = 1e-4  # length of a step, as a share of the path
MAX_SIZE = 256  # largest side, in pixels, that LPIPS sees
CHUNK = 4  # pairs at a time: the embedding of a 256 x 256 image has 32 MB

# Positions, ascending and disjoint -> the pairs of each part: float [N, 2, C, H, W] in [0, 255], unrounded, the ends of
# steps of `EPSILON`.
PairStream = Callable[[Iterable[range]], Iterator[torch.Tensor]]
# (path or motion, seed, number of pairs) -> their stream, a PairStream or a MoveStream. The call, before the first
# pair, raises ConfigError for those that the generator cannot follow: W without a W space, motions without a transform.
Paths = Callable[[PathSpec | MoveSpec, int, int], Any]


class PathDistance(Protocol):
    """A perceptual distance with everything that decides its numbers, such as `metrics.detectors.lpips.Lpips`."""

    @property
    def digest(self) -> str: ...

    @property
    def preprocessing(self) -> str: ...

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor: ...  # [N, 3, H, W] float in [0, 255] -> [N]


def pair_observer(pairs: PairStream, network: PathDistance, *, crop: bool) -> Observer:
    """Makes the observer of a stream of pairs.

    Args:
        pairs: The stream.
        network: The distance.
        crop: Compare only the part where an aligned portrait has its face.

    Returns:
        Function from parts to the distances of the pairs, [N, 1] for each part.
    """

    def observe(parts: Sequence[range]) -> Iterator[torch.Tensor]:
        for batch in pairs(parts):
            a, b = (prepare_ends(ends, crop=crop) for ends in batch.unbind(1))
            yield network.distance(a, b)[:, None]

    return observe


def prepare_ends(images: torch.Tensor, *, crop: bool) -> torch.Tensor:
    """Prepares images for LPIPS: crops, averages boxes of pixels down to 256, tiles gray to RGB.

    The factor is that of the whole image, with and without the crop: at 1024 pixels every 4 x 4 are averaged, and the
    crop then has 128. The definition says only that images above 256 are reduced to 256; the other reading, averaging
    the crop if the crop itself is above 256, would compare portraits and whole images at two scales. A side that the
    factor does not divide loses its last pixels.

    Args:
        images: float [N, 1 or 3, H, W] in [0, 255].
        crop: Keep only rows 3/8 to 7/8 and columns 2/8 to 6/8.

    Returns:
        float32 [N, 3, h, w].
    """
    height, width = images.shape[2:]
    factor = max(1, min(height, width) // MAX_SIZE)
    images = images.float()
    if crop:
        images = images[:, :, height * 3 // 8 : height * 7 // 8, width * 2 // 8 : width * 6 // 8]
    if factor > 1:
        images = torch.nn.functional.avg_pool2d(images, factor)
    return to_rgb(images)
