"""Fréchet distance of two normal distributions (Heusel et al. 2017, arXiv:1706.08500).

Letters: D feature width, R rank.
"""

from __future__ import annotations

import math

import torch

TOLERANCE = 1e-11  # relative error of Tr (A B)^½ up to which the fast way is taken


def frechet_distance(mean_a: torch.Tensor, cov_a: torch.Tensor, mean_b: torch.Tensor, cov_b: torch.Tensor) -> float:
    """Squared Fréchet distance of N(mean_a, cov_a) and N(mean_b, cov_b); means [D], covariances [D, D], float64.

    Finite, real and never negative, also where covariances have no full rank: no square root of a product that is not
    symmetric is ever taken.
    """
    # Eq. (6): d² = ‖m − m_w‖² + Tr(C + C_w − 2 (C C_w)^½)
    shift = (mean_a - mean_b).square().sum()
    spread = cov_a.trace() + cov_b.trace() - 2 * trace_sqrt_product(cov_a, cov_b)
    return max(0.0, float(shift + spread))


def trace_sqrt_product(cov_a: torch.Tensor, cov_b: torch.Tensor) -> torch.Tensor:
    """Tr (A B)^½ of two covariances [D, D]: by Cholesky where that is exact enough, else by their factors."""
    fast = by_cholesky(cov_a, cov_b)
    return by_factors(cov_a, cov_b) if fast is None else fast


def by_cholesky(cov_a: torch.Tensor, cov_b: torch.Tensor) -> torch.Tensor | None:
    """Tr (A B)^½ from the eigenvalues of Lᵀ B L, A = L Lᵀ; None where that is not known to be right to `TOLERANCE`.

    Where the estimate of its rounding error does not tell, the same is done the other way round, B = L Lᵀ: the two
    share no rounding error, so their difference is one. The estimate alone would refuse most spectra that fall steeply,
    and they come out right to 1e-12 as long as both covariances have full rank.
    """
    found, error = _roots_by_cholesky(cov_a, cov_b)
    if found is None or error <= TOLERANCE * found:
        return found
    other, _ = _roots_by_cholesky(cov_b, cov_a)
    return found if other is not None and abs(found - other) <= TOLERANCE * found else None


def _roots_by_cholesky(cov_a: torch.Tensor, cov_b: torch.Tensor) -> tuple[torch.Tensor | None, float]:
    """The sum of the roots of the eigenvalues of Lᵀ B L, None if A has no L; and an estimate of its rounding error."""
    lower, failed = torch.linalg.cholesky_ex(cov_a)
    if failed:
        return None, math.inf
    values = torch.linalg.eigvalsh(lower.T @ cov_b @ lower).clamp(min=0)  # [D] ascending
    # An error e of an eigenvalue v, in the order of eps times the largest, is one of e / (2 sqrt v) of its root, and
    # never more than sqrt e; over the spectrum the errors have both signs.
    error = values[-1] * torch.finfo(values.dtype).eps
    errors = error / (2 * values.clamp(min=float(error / 4)).sqrt())  # [D]
    return values.sqrt().sum(), float(errors.square().sum().sqrt())


def by_factors(cov_a: torch.Tensor, cov_b: torch.Tensor) -> torch.Tensor:
    """Tr (A B)^½ of covariances of any rank.

    With A = F Fᵀ and B = G Gᵀ the eigenvalues of A B are the squared singular values of Fᵀ G, so their roots come
    without a square root that would turn a rounding error of 1e-16 into one of 1e-8.
    """
    return torch.linalg.svdvals(factor(cov_a).T @ factor(cov_b)).sum()


def factor(cov: torch.Tensor) -> torch.Tensor:
    """F [D, R] with F Fᵀ = cov [D, D]; eigenvalues within the rounding error of zero, and negative ones, are zero."""
    values, vectors = torch.linalg.eigh(cov)  # [D] ascending, [D, D]
    kept = values > values[-1].clamp(min=0) * len(cov) * torch.finfo(cov.dtype).eps
    return vectors[:, kept] * values[kept].sqrt()
