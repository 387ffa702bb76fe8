"""Fréchet distance: the official FID, the matrix square root, and bad conditions."""

import numpy as np
import pytest
import scipy.linalg
import torch

from dnnlib.errors import DataError
from metrics.kinds.frechet import by_cholesky, by_factors, frechet_distance
from tests.support.features import moments, randn


def test_frechet_distance_is_the_official_fid(numbers):
    distance = frechet_distance(*moments(numbers['real']), *moments(numbers['gen']))
    assert distance == pytest.approx(float(numbers['fid']), rel=1e-6)


def sqrtm_distance(mean_a, cov_a, mean_b, cov_b):
    product = scipy.linalg.sqrtm((cov_a @ cov_b).numpy())
    return float((mean_a - mean_b).square().sum() + (cov_a + cov_b).trace()) - 2 * float(np.trace(product).real)


@pytest.mark.parametrize('seed', range(3))
def test_frechet_distance_agrees_with_the_matrix_square_root(seed):
    mixing = randn(24, 24, seed=seed)
    a, b = randn(500, 24, seed=seed + 10), randn(400, 24, seed=seed + 20) @ mixing + 0.3
    assert frechet_distance(*moments(a), *moments(b)) == pytest.approx(
        sqrtm_distance(*moments(a), *moments(b)), rel=1e-9
    )


def test_the_fast_way_is_taken_where_it_agrees_with_the_slow_one():
    a, b = moments(randn(900, 48) @ randn(48, 48, seed=1))[1], moments(randn(700, 48, seed=2))[1]
    fast = by_cholesky(a, b)
    assert fast is not None
    assert float(fast) == pytest.approx(float(by_factors(a, b)), rel=1e-11)


@pytest.mark.parametrize('power', [0.5, 1, 1.5])
def test_steep_spectra_of_full_rank_take_the_fast_way_too(power):
    scales = torch.arange(1, 129).double() ** -power
    mixing = torch.linalg.qr(randn(128, 128).double()).Q
    a, b = (moments(randn(600, 128, seed=seed).double() * scales @ mixing)[1] for seed in (1, 2))
    assert float(by_cholesky(a, b)) == pytest.approx(float(by_factors(a, b)), rel=1e-10)


def test_a_covariance_without_full_rank_is_never_trusted_to_the_fast_way():
    full = moments(randn(300, 64) * 3)[1]
    for num_items in (2, 20, 63, 64):
        deficient = moments(randn(num_items, 64, seed=1))[1]
        assert by_cholesky(deficient, full) is None
        assert by_cholesky(full, deficient) is None


@pytest.mark.parametrize(
    ('name', 'features'),
    [
        ('fewer items than dimensions', randn(20, 64)),
        ('a dead feature', randn(500, 64) * (torch.arange(64) > 0)),
        ('a feature twice', torch.cat([randn(500, 32)] * 2, dim=1)),
        ('as many items as dimensions', randn(65, 64)),
        ('scales of twenty orders', randn(500, 64) * torch.logspace(-10, 10, 64)),
        ('constant', torch.ones(30, 64)),
    ],
)
def test_bad_conditions_give_a_finite_real_distance_of_at_least_zero(name, features):
    other = randn(400, 64, seed=3) * 2 + 1
    for a, b in ((features, other), (other, features), (features, features), (features, features.flip(0) * 1.001)):
        distance = frechet_distance(*moments(a), *moments(b))
        assert np.isfinite(distance), name
        assert distance >= 0, name
    both = [moments(features), moments(other)]
    slow = by_factors(both[0][1], both[1][1])
    expected = (both[0][0] - both[1][0]).square().sum() + sum(cov.trace() for _, cov in both) - 2 * slow
    assert frechet_distance(*both[0], *both[1]) == pytest.approx(float(expected), rel=1e-9), name


def test_frechet_distance_of_a_set_to_itself_is_zero_whatever_its_rank():
    for features in (randn(300, 40), randn(10, 40), randn(300, 1).expand(-1, 40), torch.ones(5, 40)):
        assert 0 <= frechet_distance(*moments(features), *moments(features)) < 1e-10


def test_frechet_distance_of_rank_deficient_sets_is_exact():
    # Two lines at a right angle: nothing in common, so the distance is the sum of the variances.
    a, b = torch.zeros(50, 64), torch.zeros(50, 64)
    a[:, 3], b[:, 9] = torch.linspace(-1, 1, 50), torch.linspace(-2, 2, 50)
    expected = float(a[:, 3].double().var(correction=0) + b[:, 9].double().var(correction=0))
    assert frechet_distance(*moments(a), *moments(b)) == pytest.approx(expected, rel=1e-12)
    # One point against a line: again the variance, and the shift.
    assert frechet_distance(*moments(torch.ones(5, 64)), *moments(b)) == pytest.approx(
        64 + float(b[:, 9].double().var(correction=0)), rel=1e-12
    )


def test_frechet_distance_of_fewer_images_than_dimensions_is_that_of_their_span():
    # In the span of all 40 items the covariances are 40 x 40, and the answer must be the same.
    features = randn(40, 300).double()
    basis = torch.linalg.qr(features.T).Q  # [300, 40]
    wide = frechet_distance(*moments(features[:20]), *moments(features[20:]))
    narrow = frechet_distance(*moments(features[:20] @ basis), *moments(features[20:] @ basis))
    assert wide == pytest.approx(narrow, rel=1e-10)


@pytest.mark.parametrize('position', range(4))
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_statistics_that_are_not_finite_have_no_distance(position, value):
    statistics = [*moments(randn(30, 4)), *moments(randn(30, 4, seed=1))]
    statistics[position] = statistics[position].clone()
    statistics[position].view(-1)[-1] = value
    with pytest.raises(DataError, match='the Fréchet distance of features: not all numbers are finite'):
        frechet_distance(*statistics)
