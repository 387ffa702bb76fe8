"""Kernel distance: the squared maximum mean discrepancy (Bińkowski et al. 2018, arXiv:1801.01401).

Letters: N items, M items in a subset, D feature width.
"""

from __future__ import annotations

import numpy as np
import torch

from dnnlib.errors import DataError
from metrics.registry import Metric, register_metric


def kernel_distance(
    real: torch.Tensor,
    fake: torch.Tensor,
    rng: np.random.Generator,
    *,
    num_subsets: int = 100,
    max_subset_size: int = 1000,
) -> float:
    """Computes the mean of the unbiased MMD² over random subsets; it may be slightly negative.

    A subset has M = min(N, max_subset_size) items of each side, drawn without replacement, so memory grows with M².

    Args:
        real: Features [N, D].
        fake: Features [N, D]; its N may differ.
        rng: Generator that draws the subsets.
        num_subsets: Number of subsets.
        max_subset_size: Largest M.

    Returns:
        The kernel distance.

    Raises:
        DataError: There are fewer than two items on a side.
    """
    size = min(len(real), len(fake), max_subset_size)
    if size < 2:
        raise DataError(f'the kernel distance needs 2 real and 2 generated images, got {len(real)} and {len(fake)}')
    distances = [unbiased_mmd2(_subset(real, size, rng), _subset(fake, size, rng)) for _ in range(num_subsets)]
    return float(np.mean(distances))


def unbiased_mmd2(x: torch.Tensor, y: torch.Tensor) -> float:
    """Computes the unbiased MMD² of two samples [M, D] of the same size under the cubic kernel, in float64."""
    x, y = x.double(), y.double()
    size = len(x)
    # Gretton et al. 2012, Eq. (4): pairs of an item with itself are excluded within x and within y.
    k_xx, k_yy, k_xy = cubic_kernel(x, x), cubic_kernel(y, y), cubic_kernel(x, y)  # [M, M]
    within = k_xx.sum() - k_xx.trace() + k_yy.sum() - k_yy.trace()
    return float(within / (size * (size - 1)) - 2 * k_xy.mean())


def cubic_kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Returns the kernel of every pair of rows of x and y [M, D], [M, M]."""
    # Sec. 4: k(x, y) = (xᵀy / D + 1)³
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # many times faster than a power


def _subset(features: torch.Tensor, size: int, rng: np.random.Generator) -> torch.Tensor:
    return features[torch.from_numpy(rng.choice(len(features), size, replace=False))]


@register_metric(
    'kid',
    pattern='kid_{}50k_full',
    official='kid',
    detector='inception',
    min_images=2,
    min_images_reason='the unbiased estimate takes pairs of two images of the same side',
    max_reals=1_000_000,
    lower_is_better=True,
)
class Kid(Metric):
    """The metric `kid`: the kernel distance over 100 subsets of 1000 images."""

    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Returns the distance of the generated images at positions `chosen`; the seed draws the subsets."""
        rng = np.random.default_rng(seed)
        return {'': kernel_distance(self.reals.features, self.fakes.features[chosen], rng)}
