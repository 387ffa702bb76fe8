"""Errors that are the true ones."""

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from metrics.kinds.features import FeatureStats
from metrics.kinds.frechet import frechet_distance
from metrics.kinds.kid import unbiased_mmd2
from metrics.kinds.neighbors import Neighborhood
from metrics.kinds.precision_recall import manifold_shares
from metrics.uncertainty import Estimate, as_results, half_sample_std, over_seeds
from tests.support.features import randn


@pytest.mark.parametrize('num_items', [400, 401, 25])
def test_the_error_of_a_mean_is_the_textbooks(num_items):
    values = randn(num_items).double()
    found = half_sample_std(lambda chosen, _: {'mean': float(values[chosen].mean())}, num_items, replicates=2000)
    assert found['mean'] == pytest.approx(float(values.std()) / num_items**0.5, rel=0.06)


def fd(fake, reference):
    stats = FeatureStats(fake.shape[1])
    stats.append(fake)
    return frechet_distance(*reference, *stats.mean_cov())


def test_errors_are_the_scatter_of_the_metric_over_generators_draws():
    real = randn(300, 4)
    stats = FeatureStats(4)
    stats.append(real)
    reference, balls = stats.mean_cov(), Neighborhood(real, 3)
    metrics = {
        'fd': lambda fake: fd(fake, reference),
        'kid': lambda fake: unbiased_mmd2(real[: len(fake)], fake),
        'precision': lambda fake: manifold_shares(balls, fake)[0],
        'recall': lambda fake: manifold_shares(balls, fake)[1],
    }
    draws = [randn(200, 4, seed=seed) * 1.3 + 0.4 for seed in range(1, 41)]
    for name, metric in metrics.items():
        truth = np.std([metric(fake) for fake in draws], ddof=1)
        estimates = []
        for fake in draws[:6]:
            half = half_sample_std(lambda chosen, _, m=metric, f=fake: {'x': m(f[chosen])}, 200, replicates=20)
            estimates.append(half['x'])
        # Each is known to about one part in six; recall of halves is a little more restless than it should be.
        assert 0.6 < np.mean(estimates) / truth < 1.6, name


def test_an_error_is_a_function_of_the_seed():
    values = randn(50).double()

    def std(seed):
        return half_sample_std(lambda chosen, _: {'x': float(values[chosen].mean())}, 50, replicates=5, seed=seed)

    assert std(3) == std(3) != std(4)


def test_halves_are_halves_without_repeats():
    seen = []
    half_sample_std(lambda chosen, replicate: seen.append((chosen, replicate)) or {'x': 0.0}, 11, replicates=4)
    assert [replicate for _, replicate in seen] == [0, 1, 2, 3]
    for chosen, _ in seen:
        assert len(chosen) == len(chosen.unique()) == 5
        assert torch.equal(chosen, chosen.sort().values)
    assert not torch.equal(seen[0][0], seen[1][0])


def test_errors_and_intervals_stand_behind_the_numbers():
    found = as_results({'a': Estimate(value=3.0, std=0.5), 'b': Estimate(value=1.0)})
    assert list(found) == ['a', 'b', 'a_std', 'a_low95', 'a_high95']
    assert tuple(found.values()) == pytest.approx((3.0, 1.0, 0.5, 2.02, 3.98), abs=1e-3)


def test_several_seeds_make_a_mean_with_students_interval():
    found = over_seeds({0: {'fid': 4.0}, 1: {'fid': 5.0}, 2: {'fid': 6.0}})['fid']
    assert (found.value, found.by_seed) == (5.0, ((0, 4.0), (1, 5.0), (2, 6.0)))
    assert found.std == pytest.approx(1 / 3**0.5)
    assert found.interval() == pytest.approx((5 - 4.3027 / 3**0.5, 5 + 4.3027 / 3**0.5), rel=1e-4)


def test_one_seed_knows_no_error():
    found = over_seeds({7: {'fid': 4.0}})['fid']
    assert found == Estimate(value=4.0, std=None, by_seed=((7, 4.0),))
    with pytest.raises(ConfigError, match='--seeds=3'):
        found.interval()
