"""Perceptual path length (Karras et al. 2019, arXiv:1812.04948, Sec. 4.1), with StyleGAN2-ADA's definitions.

The generator is on the other side of `Paths`: it yields the two ends of short steps in latent space. What happens to
their images until LPIPS sees them is here.

Letters: N pairs of a batch, C, H, W of images, P pairs in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from metrics.spec import PathSpec
from metrics.streams.images import to_rgb
from metrics.streams.shares import Look

EPSILON = 1e-4  # length of a step, as a share of the path
MAX_SIZE = 256  # pixels of a side that LPIPS sees
CHUNK = 4  # pairs at a time: LPIPS keeps 32 MB of a 256 x 256 image

# Positions, ascending and disjoint -> the pairs of each part: float [N, 2, C, H, W] in [0, 255], unrounded, the ends of
# steps of `EPSILON`.
Pairs = Callable[[Iterable[range]], Iterator[torch.Tensor]]
# (path, seed, number of pairs) -> their stream. What the generator cannot do (W without a W space) it refuses by a
# ConfigError in the call, before the first pair.
Paths = Callable[[PathSpec, int, int], Pairs]


class PathDistance(Protocol):
    """A perceptual distance with everything that decides its numbers; `metrics.detectors.lpips.Lpips`."""

    digest: str
    preprocessing: str

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor: ...  # [N, 3, H, W] float in [0, 255] -> [N]


def step_distances(pairs: Pairs, network: PathDistance, *, crop: bool) -> Look:
    """d(a, b) of the pairs of each part, [N, 1]."""

    def look(parts: Sequence[range]) -> Iterator[torch.Tensor]:
        for batch in pairs(parts):
            a, b = (prepare(ends, crop=crop) for ends in batch.unbind(1))
            yield network.distance(a, b)[:, None]

    return look


def path_length(distances: torch.Tensor) -> float:
    """The mean of d(a, b) / EPSILON² over distances [P] between their 1st and 99th percentiles, borders included."""
    values = distances.double().numpy() / EPSILON**2
    # The percentiles are members of the set, the one below and the one above: no interpolation.
    low, high = np.percentile(values, 1, method='lower'), np.percentile(values, 99, method='higher')
    return float(values[(low <= values) & (values <= high)].mean())


def prepare(
    images: torch.Tensor,  # [N, 1 or 3, H, W] float in [0, 255]
    *,
    crop: bool,
) -> torch.Tensor:
    """What LPIPS sees: the part where a portrait has its face, box-averaged to 256, grey tiled; [N, 3, h, w] float32.

    The factor is the image's own, crop or not: of 1024 pixels every 4 x 4 are averaged, and the crop then has 128. The
    definition says only that images above 256 are brought to 256; averaging the crop where the crop itself is above
    256 would be the other reading, and would show LPIPS portraits and whole images at two scales.
    A side that the factor does not divide loses its last pixels.
    """
    height, width = images.shape[2:]
    factor = max(1, min(height, width) // MAX_SIZE)
    images = images.float()
    if crop:
        images = images[:, :, height * 3 // 8 : height * 7 // 8, width * 2 // 8 : width * 6 // 8]
    if factor > 1:
        images = torch.nn.functional.avg_pool2d(images, factor)
    return to_rgb(images)
