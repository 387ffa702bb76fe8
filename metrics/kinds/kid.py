"""Kernel distance: the squared maximum mean discrepancy (Bińkowski et al. 2018, arXiv:1801.01401).

Letters: N items, M items in a subset, D feature width.
"""

from __future__ import annotations

import numpy as np
import torch

from dnnlib.errors import DataError


def kernel_distance(
    real: torch.Tensor,
    fake: torch.Tensor,
    rng: np.random.Generator,
    *,
    num_subsets: int = 100,
    max_subset_size: int = 1000,
) -> float:
    """Mean of the unbiased MMD² over random subsets of features [N, D], real and fake; the two N may differ.

    A subset is M = min(N, max_subset_size) items of each side without replacement, so memory grows with M² only.
    Unbiased means that it may be slightly negative. DataError below two items.
    """
    size = min(len(real), len(fake), max_subset_size)
    if size < 2:
        raise DataError(f'the kernel distance needs 2 real and 2 generated images, got {len(real)} and {len(fake)}')
    distances = [unbiased_mmd2(_subset(real, size, rng), _subset(fake, size, rng)) for _ in range(num_subsets)]
    return float(np.mean(distances))


def unbiased_mmd2(x: torch.Tensor, y: torch.Tensor) -> float:
    """Unbiased MMD² of two samples [M, D] of one size under the cubic kernel, in float64."""
    x, y = x.double(), y.double()
    size = len(x)
    # Gretton et al. 2012, Eq. (4): the pairs of an item with itself are left out within x and within y.
    k_xx, k_yy, k_xy = cubic_kernel(x, x), cubic_kernel(y, y), cubic_kernel(x, y)  # [M, M]
    within = k_xx.sum() - k_xx.trace() + k_yy.sum() - k_yy.trace()
    return float(within / (size * (size - 1)) - 2 * k_xy.mean())


def cubic_kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Sec. 4: k(x, y) = (xᵀy / D + 1)³ for every pair, [M, M]."""
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # many times faster than a power


def _subset(features: torch.Tensor, size: int, rng: np.random.Generator) -> torch.Tensor:
    return features[torch.from_numpy(rng.choice(len(features), size, replace=False))]
