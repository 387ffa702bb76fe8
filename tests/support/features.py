"""Features for tests of metrics, and slow definitions to compare with."""

from __future__ import annotations

import torch

from metrics.kinds.features import FeatureStats


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Returns normally distributed numbers, a function of the seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def moments(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns mean [D] and covariance [D, D] of features [N, D]."""
    stats = FeatureStats(features.shape[1])
    stats.append(features)
    return stats.mean_cov()


def distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns squared distances pair by pair, float64 [len(a), len(b)]."""
    return (a.double()[:, None] - b.double()[None]).square().sum(dim=2)


def radii(members: torch.Tensor, k: int) -> torch.Tensor:
    """Returns the squared distance of each member to its k-th nearest other member."""
    return distances(members, members).fill_diagonal_(torch.inf).sort(dim=1).values[:, k - 1]
