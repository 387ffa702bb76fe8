"""Density and coverage (Naeem et al. 2020, arXiv:2002.09797), which one outlier among the reals does not spoil.

Letters: N real and M generated items, D feature width, B items of a block.
"""

from __future__ import annotations

import torch

from dnnlib.errors import DataError
from metrics.kinds.neighbors import BLOCK_ELEMENTS, Neighbourhood, about_mean


def density_coverage(
    real: torch.Tensor, fake: torch.Tensor, *, neighbours: int = 5, block: int = BLOCK_ELEMENTS
) -> tuple[float, float]:
    """Density, at least 0 and near 1 for equal distributions, and coverage in [0, 1].

    Takes features [N, D] and [M, D]; block: distances held at a time. DataError unless the reals exceed `neighbours`
    and there is a fake.
    """
    if len(real) <= neighbours or not len(fake):
        counts = f'{len(real)} real and {len(fake)} generated'
        raise DataError(f'density and coverage need more than {neighbours} real images and a generated, got {counts}')
    real, fake = about_mean(real, fake)
    return ball_shares(Neighbourhood(real, neighbours, block=block), fake)


def ball_shares(reals: Neighbourhood, fake: torch.Tensor) -> tuple[float, float]:
    """`density_coverage` where the balls of the reals have been made; fake [M, D] about the same mean."""
    # Sec. 3: density = 1/(k M) Σ_j Σ_i 1[Y_j in B(X_i, NND_k(X_i))], coverage = 1/N Σ_i 1[some Y_j in the ball of X_i].
    # The border belongs to the ball, as in precision and recall; the authors' code leaves it out. It matters for
    # copies alone: a fake that copies a real whose k neighbours are copies too is covered.
    num_inside, covered = 0, torch.zeros(len(reals), dtype=torch.bool, device=fake.device)
    for inside in reals.inside(fake):  # [B, N]
        num_inside += int(inside.sum())
        covered |= inside.any(dim=0)
    return num_inside / (reals.neighbours * len(fake)), float(covered.double().mean())
