"""Density and coverage (Naeem et al. 2020, arXiv:2002.09797), which a single outlier among the reals does not distort.

Letters: N real and M generated items, D feature width, B items of a block.
"""

from __future__ import annotations

import torch

from dnnlib.errors import DataError
from metrics.kinds.neighbors import BLOCK_ELEMENTS, Neighborhood, NeighborhoodMetric, about_mean
from metrics.registry import register_metric


def density_coverage(
    real: torch.Tensor, fake: torch.Tensor, *, neighbors: int = 5, block: int = BLOCK_ELEMENTS
) -> tuple[float, float]:
    """Computes density and coverage.

    Args:
        real: Features [N, D] with N above `neighbors`.
        fake: Features [M, D] with M at least 1.
        neighbors: k.
        block: Number of distances held at a time.

    Returns:
        Density, at least 0 and near 1 for equal distributions, and coverage in [0, 1].

    Raises:
        DataError: There are too few items.
    """
    if len(real) <= neighbors or not len(fake):
        counts = f'{len(real)} real and {len(fake)} generated'
        raise DataError(f'density and coverage need more than {neighbors} real images and a generated, got {counts}')
    real, fake = about_mean(real, fake)
    return ball_shares(Neighborhood(real, neighbors, block=block), fake)


def ball_shares(reals: Neighborhood, fake: torch.Tensor) -> tuple[float, float]:
    """Returns `density_coverage` of reals with known balls and fake [M, D] about the same mean."""
    # Sec. 3: density = 1/(k M) Σ_j Σ_i 1[Y_j in B(X_i, NND_k(X_i))], coverage = 1/N Σ_i 1[some Y_j in the ball of X_i].
    # The border belongs to the ball, as in precision and recall; the authors' code excludes it. The difference concerns
    # copies alone: a fake that copies a real whose k neighbors are copies too is covered.
    num_inside, covered = 0, torch.zeros(len(reals), dtype=torch.bool, device=fake.device)
    for inside in reals.inside(fake):  # [B, N]
        num_inside += int(inside.sum())
        covered |= inside.any(dim=0)
    return num_inside / (reals.neighbors * len(fake)), float(covered.double().mean())


@register_metric('dc', pattern='dc_{}50k5_full', neighbors=5, lower_is_better=False)
class DensityCoverage(NeighborhoodMetric):
    """The metric `dc`: density and coverage."""

    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Returns density and coverage of the generated images at positions `chosen`."""
        reals, fake = self.about_real_mean
        density, coverage = ball_shares(reals, fake[chosen])
        return {'density': density, 'coverage': coverage}
