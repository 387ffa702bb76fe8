"""Fréchet distance of two normal distributions (Heusel et al. 2017, arXiv:1706.08500).

Letters: D feature width, R rank.
"""

from __future__ import annotations

import math

import torch

from metrics.finite import check_finite
from metrics.kinds.features import FeatureStats
from metrics.registry import Metric, register_metric

TOLERANCE = 1e-11  # largest relative error of Tr (A B)^½ that the fast method may have


def frechet_distance(mean_a: torch.Tensor, cov_a: torch.Tensor, mean_b: torch.Tensor, cov_b: torch.Tensor) -> float:
    """Computes the squared Fréchet distance of N(mean_a, cov_a) and N(mean_b, cov_b).

    The result is real and never negative, also for covariances without full rank: no square root of an asymmetric
    product is taken.

    Args:
        mean_a: Mean [D], float64.
        cov_a: Covariance [D, D], float64.
        mean_b: Mean [D], float64.
        cov_b: Covariance [D, D], float64.

    Returns:
        The squared distance.

    Raises:
        DataError: A mean or a covariance is not finite.
    """
    check_finite('the Fréchet distance of features', mean_a, cov_a, mean_b, cov_b)
    # Eq. (6): d² = ‖m − m_w‖² + Tr(C + C_w − 2 (C C_w)^½)
    shift = (mean_a - mean_b).square().sum()
    spread = cov_a.trace() + cov_b.trace() - 2 * trace_sqrt_product(cov_a, cov_b)
    return max(0.0, float(shift + spread))


def trace_sqrt_product(cov_a: torch.Tensor, cov_b: torch.Tensor) -> torch.Tensor:
    """Returns Tr (A B)^½ of two covariances [D, D]: by Cholesky if that is accurate enough, else by their factors."""
    fast = by_cholesky(cov_a, cov_b)
    return by_factors(cov_a, cov_b) if fast is None else fast


def by_cholesky(cov_a: torch.Tensor, cov_b: torch.Tensor) -> torch.Tensor | None:
    """Returns Tr (A B)^½ from the eigenvalues of Lᵀ B L, A = L Lᵀ; None if `TOLERANCE` is not certain.

    If the estimated rounding error is too large, the roles are exchanged, B = L Lᵀ: the two results share no rounding
    error, so their difference measures it. The estimate alone would reject most steep spectra, which are accurate to
    1e-12 as long as both covariances have full rank.
    """
    found, error = _roots_by_cholesky(cov_a, cov_b)
    if found is None or error <= TOLERANCE * found:
        return found
    other, _ = _roots_by_cholesky(cov_b, cov_a)
    return found if other is not None and abs(found - other) <= TOLERANCE * found else None


def _roots_by_cholesky(cov_a: torch.Tensor, cov_b: torch.Tensor) -> tuple[torch.Tensor | None, float]:
    """Returns the sum of the roots of the eigenvalues of Lᵀ B L, None if A has no L, and its estimated error."""
    lower, failed = torch.linalg.cholesky_ex(cov_a)
    if failed:
        return None, math.inf
    values = torch.linalg.eigvalsh(lower.T @ cov_b @ lower).clamp(min=0)  # [D] ascending
    # An error e of an eigenvalue v, about eps times the largest, becomes e / (2 sqrt v) in its root, and never more
    # than sqrt e; over the spectrum the errors have both signs.
    error = values[-1] * torch.finfo(values.dtype).eps
    errors = error / (2 * values.clamp(min=float(error / 4)).sqrt())  # [D]
    return values.sqrt().sum(), float(errors.square().sum().sqrt())


def by_factors(cov_a: torch.Tensor, cov_b: torch.Tensor) -> torch.Tensor:
    """Returns Tr (A B)^½ of covariances of any rank.

    With A = F Fᵀ and B = G Gᵀ the eigenvalues of A B are the squared singular values of Fᵀ G, so their roots need no
    square root, which would turn a rounding error of 1e-16 into one of 1e-8.
    """
    trace: torch.Tensor = torch.linalg.svdvals(factor(cov_a).T @ factor(cov_b)).sum()
    return trace


def factor(cov: torch.Tensor) -> torch.Tensor:
    """Returns F [D, R] with F Fᵀ = cov [D, D]; eigenvalues below the rounding error of zero count as zero."""
    values, vectors = torch.linalg.eigh(cov)  # [D] ascending, [D, D]
    kept = values > values[-1].clamp(min=0) * len(cov) * torch.finfo(cov.dtype).eps
    result: torch.Tensor = vectors[:, kept] * values[kept].sqrt()
    return result


@register_metric(
    'fd',
    pattern='fd_{}50k_full',
    official='fid',
    detector='inception',
    needs='moments',
    min_images=2,
    min_images_reason='one image has no covariance',
    lower_is_better=True,
)
class Frechet(Metric):
    """The metric `fd`: the Fréchet distance, FID over the official network."""

    def whole(self, seed: int) -> dict[str, float]:
        """Returns the distance of all generated images, from their moments."""
        return {'': frechet_distance(*self.reals.moments, *self.fakes.moments)}

    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Returns the distance of the generated images at positions `chosen`, from their features."""
        features = self.fakes.features[chosen]  # [M, D]
        stats = FeatureStats(features.shape[1])
        stats.append(features)
        return {'': frechet_distance(*self.reals.moments, *stats.mean_cov())}
