"""Noise maps as part of a projection (Karras et al. 2020, arXiv 1912.04958, Appendix D).

Letters: N images in a batch, M noise maps of a generator, r side of a map.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from torch_utils.seeding import numpy_generator

WEIGHT = 1e5  # α of the regularizer
SMALLEST = 8  # side at which the pyramid of a map ends

Maps = dict[str, torch.Tensor]  # name of the buffer -> [N, 1, height, width]


def draw_maps(G: Any, num_images: int, seed: int) -> Maps:
    """Returns noise maps to optimize, N(0, 1), for every buffer `noise_const`; the same ones for each image.

    Args:
        G: The generator.
        num_images: N.
        seed: Seed of the values.
    """
    draw, maps = numpy_generator(seed, 'projection noise maps'), {}
    for name, buffer in G.named_buffers():
        if name.endswith('noise_const'):
            values = torch.from_numpy(draw.standard_normal([1, 1, *buffer.shape])).float()
            maps[name] = values.expand(num_images, -1, -1, -1).to(buffer.device, copy=True).requires_grad_()
    return maps


def regularizer(maps: Maps) -> torch.Tensor:
    """Returns the regularizer of each image, [N]: neighboring values of a noise map should not be correlated.

    L_{i,j} = (1/r² Σ n(x, y) n(x − 1, y))² + (1/r² Σ n(x, y) n(x, y − 1))², summed over the maps i and the levels j of
    their pyramids: 2 x 2 means, times 2 to keep the variance, down to 8 pixels.
    """
    total = None
    for level in maps.values():
        while True:
            terms = [(level * level.roll(1, dims=dim)).mean(dim=(1, 2, 3)).square() for dim in (3, 2)]
            total = terms[0] + terms[1] if total is None else total + terms[0] + terms[1]
            if min(level.shape[2:]) <= SMALLEST:
                break
            level = F.avg_pool2d(level, 2) * 2
    assert total is not None
    return total


@torch.no_grad()
def normalize_(maps: Maps) -> None:
    """Scales every noise map of every image to zero mean and unit variance, in place."""
    for noise in maps.values():
        noise -= noise.mean(dim=(2, 3), keepdim=True)
        noise *= noise.square().mean(dim=(2, 3), keepdim=True).rsqrt()
