"""Density and coverage: their formulas, and the expectation of the paper."""

import numpy as np
import pytest
import torch

from dnnlib.errors import DataError
from metrics.kinds.density_coverage import density_coverage
from metrics.kinds.precision_recall import precision_recall
from tests.support.features import distances, radii, randn


@pytest.mark.parametrize('k', [1, 5])
def test_density_and_coverage_are_their_formulas(k):
    real, fake = randn(60, 5), randn(45, 5, seed=1) * 0.8 + 0.5
    inside = (distances(fake, real) <= radii(real, k)).numpy()  # [M, N]
    found = density_coverage(real, fake, neighbors=k)
    assert found == pytest.approx((inside.sum() / (k * 45), inside.any(axis=0).mean()), rel=1e-12)
    assert density_coverage(real, fake, neighbors=k, block=130) == found


def test_density_and_coverage_of_one_distribution_are_what_the_paper_expects():
    # Sec. 3: expected density 1; coverage 1 - (N - 1) ... (N - k) / ((M + N - 1) ... (M + N - k)).
    n = m = 300
    found = np.array([density_coverage(randn(n, 8, seed=2 * s), randn(m, 8, seed=2 * s + 1)) for s in range(20)])
    errors = found.std(axis=0, ddof=1) / 20**0.5
    coverage = 1 - np.prod([(n - i) / (m + n - i) for i in range(1, 6)])
    assert (abs(found.mean(axis=0) - [1, coverage]) < 3 * errors).all()


def test_an_outlier_among_the_reals_moves_precision_and_hardly_density():
    real, fake = randn(100, 4), randn(100, 4, seed=1) + 4
    with_outlier = torch.cat([real, torch.full((1, 4), 12.0)])
    assert precision_recall(with_outlier, fake)[0] > precision_recall(real, fake)[0] + 0.5
    assert density_coverage(with_outlier, fake)[0] < density_coverage(real, fake)[0] + 0.25


def test_density_and_coverage_need_more_reals_than_neighbours():
    with pytest.raises(DataError, match='more than 5 real images and a generated, got 5 real and 9 gen'):
        density_coverage(randn(5, 4), randn(9, 4))
