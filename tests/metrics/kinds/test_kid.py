"""Kernel distance: the official KID, the sum over pairs, unbiased."""

import numpy as np
import pytest

from dnnlib.errors import DataError
from metrics.kinds.kid import kernel_distance, unbiased_mmd2
from tests.support.features import randn


def test_kernel_distance_is_the_official_kid(numbers):
    distance = unbiased_mmd2(numbers['real'][:500], numbers['gen'][:500])
    assert distance == pytest.approx(float(numbers['kid_one_subset_500']), rel=1e-6)


def direct_mmd2(x, y):
    """Returns the MMD² of Gretton et al. 2012, Eq. (4), pair by pair."""
    x, y = x.double().numpy(), y.double().numpy()
    m, dim = x.shape

    def kernel(a, b):
        return (a @ b / dim + 1) ** 3

    within = sum(kernel(s[i], s[j]) for s in (x, y) for i in range(m) for j in range(m) if i != j)
    return within / (m * (m - 1)) - 2 * sum(kernel(a, b) for a in x for b in y) / m**2


def test_kernel_distance_is_the_sum_over_pairs():
    x, y = randn(30, 12, seed=1), randn(30, 12, seed=2) * 1.5
    assert unbiased_mmd2(x, y) == pytest.approx(direct_mmd2(x, y), rel=1e-12)
    # One subset that holds everything is the same number: the sum does not know the order.
    assert kernel_distance(x, y, np.random.default_rng(0), num_subsets=2) == pytest.approx(direct_mmd2(x, y), rel=1e-9)


def test_kernel_distance_is_unbiased():
    values = [unbiased_mmd2(randn(64, 16, seed=2 * seed), randn(64, 16, seed=2 * seed + 1)) for seed in range(200)]
    standard_error = np.std(values) / len(values) ** 0.5
    assert abs(np.mean(values)) < 3 * standard_error
    assert min(values) < 0 < max(values)
    shifted = unbiased_mmd2(randn(64, 16), randn(64, 16, seed=1) + 0.5)
    assert shifted > 50 * standard_error


def test_kernel_distance_is_a_function_of_the_seed_and_takes_sets_of_two_sizes():
    x, y = randn(120, 8), randn(70, 8, seed=1)
    first, second, other = (
        kernel_distance(x, y, np.random.default_rng(seed), num_subsets=4, max_subset_size=50) for seed in (0, 0, 1)
    )
    assert first == second != other


def test_kernel_distance_needs_two_items_a_side():
    with pytest.raises(DataError, match='got 1 and 9'):
        kernel_distance(randn(1, 4), randn(9, 4), np.random.default_rng(0))
