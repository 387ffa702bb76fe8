"""Whether a generator gives training images back: a share, and the pairs to look at.

Authenticity (Alaa et al. 2022, arXiv:2102.08921): the share of generated images that are farther from the nearest real
image than that one is from its own nearest neighbour. About a half where the generated images are as good as new real
ones, 0 where each one copies. Rather than the share below a percentile of all distances, since every real image has a
scale of its own: in a dense region a new image is near without being a copy.

Letters: N real and M generated items, D feature width, S samples shown, R reals beside each, C, H, W of images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from dnnlib.errors import DataError
from metrics.kinds.neighbors import BLOCK_ELEMENTS, Neighbourhood, about_mean
from torch_utils.images import tile


class Pairs(NamedTuple):
    """Generated images and the real ones nearest to them; the most suspicious first."""

    samples: list[int]  # [S] positions in the stream of generated images
    reals: list[list[int]]  # [S][R] positions in the reference, nearest first
    ratios: list[float]  # [S] distance to the nearest real, in units of that one's distance to its nearest neighbour


def authenticity(real: torch.Tensor, fake: torch.Tensor, *, block: int = BLOCK_ELEMENTS) -> float:
    """Share of fakes [M, D] that are no copies of reals [N, D], in [0, 1]; see the module.

    block: distances held at a time. DataError below two reals or without fakes.
    """
    if len(real) < 2 or not len(fake):
        counts = f'{len(real)} real and {len(fake)} generated'
        raise DataError(f'the search for copies needs two real images and a generated one, got {counts}')
    real, fake = about_mean(real, fake)
    return authentic_share(Neighbourhood(real, 1, block=block), fake)


def authentic_share(reals: Neighbourhood, fake: torch.Tensor) -> float:
    """`authenticity` where the balls (k = 1) of the reals have been made; fake [M, D] about the same mean."""
    # Sec. 3: A = 0 where d(g, r*) < d(r*, its nearest other real), r* the real nearest to g. Equality counts as a
    # copy here: where the data set holds r* twice, both are 0 for a fake that is the third.
    distances, indices = (found[:, 0] for found in reals.nearest(fake))  # [M]
    tie = 1e-12 * reals.radii.max()  # far above the rounding errors, far below any difference that means something
    return float((distances > reals.radii[indices] + tie).double().mean())


def closest_pairs(reals: Neighbourhood, fake: torch.Tensor, *, num_samples: int = 16, num_reals: int = 5) -> Pairs:
    """The fakes [M, D] that look most like copies, with the reals nearest to them; as in `authentic_share`."""
    distances, indices = reals.nearest(fake, min(num_reals, len(reals)))  # [M, R]
    # Two zeros are a copy of a repeated real: nothing is more suspicious.
    ratios = (distances[:, 0] / reals.radii[indices[:, 0]]).nan_to_num(nan=0.0).sqrt()  # [M]
    order = ratios.argsort(stable=True)[:num_samples]
    return Pairs(order.tolist(), indices[order].tolist(), ratios[order].tolist())


def draw_pairs(
    pairs: Pairs, sample: Callable[[int], np.ndarray], real: Callable[[int], np.ndarray], gap: int = 4
) -> np.ndarray:
    """A sheet uint8 [C, rows, columns], a row a sample: the sample, a white gap, its nearest reals.

    sample, real: position -> uint8 [C, H, W]. `torch_utils.images.save_png` writes it.
    """
    rows = []
    for index, neighbours in zip(pairs.samples, pairs.reals, strict=True):
        image = np.asarray(sample(index))  # [C, H, W]
        row = tile(np.stack([np.asarray(real(i)) for i in neighbours]), len(neighbours))  # [C, H, R * W]
        rows.append(np.concatenate([image, np.full([*image.shape[:2], gap], 255, np.uint8), row], axis=2))
    return np.concatenate(rows, axis=1)
