"""Memorization: the share of generated images that are no copies of training images, and the most suspicious pairs.

Authenticity (Alaa et al. 2022, arXiv:2102.08921) is the share of generated images that are farther from the nearest
real image than that one is from its own nearest neighbor: about one half if the generated images are as good as new
real ones, 0 if each one copies. The alternative, the share below a percentile of all distances, ignores that every real
image has its own scale: in a dense region a new image is near without being a copy.

Letters: N real and M generated items, D feature width, S samples shown, R reals next to each.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from dnnlib.errors import DataError
from metrics.kinds.neighbors import BLOCK_ELEMENTS, Neighborhood, NeighborhoodMetric, about_mean
from metrics.registry import register_metric
from metrics.sheet import Sheet


class CopyPairs(NamedTuple):
    """Generated images and the real ones nearest to them, the most suspicious first."""

    samples: list[int]  # [S] positions in the stream of generated images
    reals: list[list[int]]  # [S][R] positions in the reference, nearest first
    ratios: list[float]  # [S] distance to the nearest real, in units of that one's distance to its nearest neighbor


def authenticity(real: torch.Tensor, fake: torch.Tensor, *, block: int = BLOCK_ELEMENTS) -> float:
    """Computes the share of fakes that are no copies of reals, see the module.

    Args:
        real: Features [N, D] with N at least 2.
        fake: Features [M, D] with M at least 1.
        block: Number of distances held at a time.

    Returns:
        The share, in [0, 1].

    Raises:
        DataError: There are too few items.
    """
    if len(real) < 2 or not len(fake):
        counts = f'{len(real)} real and {len(fake)} generated'
        raise DataError(f'the search for copies needs two real images and a generated one, got {counts}')
    real, fake = about_mean(real, fake)
    return authentic_share(Neighborhood(real, 1, block=block), fake)


def authentic_share(reals: Neighborhood, fake: torch.Tensor) -> float:
    """Returns `authenticity` of reals with known balls (k = 1) and fake [M, D] about the same mean."""
    # Sec. 3: A = 0 if d(g, r*) < d(r*, its nearest other real), r* the real nearest to g. Equality counts as a copy
    # here: if the data set holds r* twice, both distances are 0 for a fake that is the third.
    distances, indices = (found[:, 0] for found in reals.nearest(fake))  # [M]
    tie = 1e-12 * reals.radii.max()  # far above the rounding errors, far below any meaningful difference
    return float((distances > reals.radii[indices] + tie).double().mean())


def closest_pairs(reals: Neighborhood, fake: torch.Tensor, *, num_samples: int = 16, num_reals: int = 5) -> CopyPairs:
    """Finds the fakes that look most like copies, with the reals nearest to them.

    Args:
        reals: Reals with their balls (k = 1).
        fake: Features [M, D] about the same mean.
        num_samples: Largest number of fakes.
        num_reals: Largest number of reals per fake.

    Returns:
        The pairs, the most suspicious fake first.
    """
    distances, indices = reals.nearest(fake, min(num_reals, len(reals)))  # [M, R]
    # 0 / 0 is a copy of a repeated real: nothing is more suspicious.
    nearest = distances[:, 0]
    ratios = torch.where(nearest == 0, 0.0, nearest / reals.radii[indices[:, 0]]).sqrt()  # [M]
    order = ratios.argsort(stable=True)[:num_samples]
    return CopyPairs(order.tolist(), indices[order].tolist(), ratios[order].tolist())


@register_metric(
    'mem',
    pattern='mem_{}50k_full',
    min_images=4,
    min_images_reason='the ball around an image reaches its nearest neighbor, half of the images if there are four',
    lower_is_better=False,
)
class Memorization(NeighborhoodMetric):
    """The metric `mem`: authenticity, with a sheet of the samples that look most like copies."""

    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Returns the authenticity of the generated images at positions `chosen`."""
        reals, fake = self.about_real_mean
        return {'authenticity': authentic_share(reals, fake[chosen])}

    def sheet(self) -> Sheet:
        """Returns the most suspicious samples, each with the real images nearest to it."""
        pairs = closest_pairs(*self.about_real_mean)
        caption = 'samples that look most like real images, each next to those nearest to it'
        return Sheet(pairs.samples, pairs.reals, caption)
