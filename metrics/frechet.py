"""Fréchet distance of two normal distributions (Heusel et al. 2017, arXiv:1706.08500).

Letters: D feature width, R rank.
"""

from __future__ import annotations

import torch

# Of the estimated relative error of the fast way. It errs on the safe side by two orders and more: spectra that fall by
# eleven orders (1 / i², 512 of them) are estimated at 2e-10 and come out right to 1e-12.
TOLERANCE = 1e-9


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
    """Tr (A B)^½ from the eigenvalues of Lᵀ B L, A = L Lᵀ; None where A is singular or B too nearly so."""
    lower, failed = torch.linalg.cholesky_ex(cov_a)
    if failed:
        return None
    values = torch.linalg.eigvalsh(lower.T @ cov_b @ lower)  # [D] ascending
    error = values[-1] * torch.finfo(values.dtype).eps
    if values[0] <= error:
        return None
    # An error e of an eigenvalue v is one of e / (2 sqrt v) of its root, and small ones magnify it; over the spectrum
    # the errors have both signs.
    roots = values.sqrt()
    uncertainty = error * (2 * roots).reciprocal().square().sum().sqrt()
    return roots.sum() if uncertainty <= TOLERANCE * roots.sum() else None


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
