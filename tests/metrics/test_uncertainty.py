"""Errors that are the true ones, and comparisons that are wrong as often as they say."""

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from metrics.compare import compare, read_estimates
from metrics.kinds.features import FeatureStats
from metrics.kinds.frechet import frechet_distance
from metrics.kinds.kid import unbiased_mmd2
from metrics.kinds.neighbors import Neighborhood
from metrics.kinds.precision_recall import manifold_shares
from metrics.uncertainty import Estimate, as_results, half_sample_std, over_seeds


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- errors


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


# ---- seeds


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


# ---- comparisons


def seeds(*values, first=0):
    return over_seeds({first + i: {'x': value} for i, value in enumerate(values)})['x']


def test_shared_seeds_are_compared_pair_by_pair():
    a, b = seeds(10, 20, 30.5), seeds(9, 19, 29)
    found = compare(a, b, key='fid50k_full')
    assert 'paired over 3 seeds' in found.method
    assert found.difference == pytest.approx(3.5 / 3)
    assert found.std == pytest.approx(np.std([1, 1, 1.5], ddof=1) / 3**0.5)
    assert found.z == pytest.approx(found.difference / found.std)
    assert found.significant
    # The same numbers under other seeds say nothing: they scatter by 10.
    assert not compare(a, seeds(9, 19, 29, first=5)).significant


def test_other_seeds_are_compared_by_welch():
    from scipy.stats import ttest_ind

    a, b = (1.0, 2.0, 4.0), (5.0, 5.5, 7.0, 9.0)
    found = compare(seeds(*a), seeds(*b, first=10))
    expected = ttest_ind(a, b, equal_var=False)
    assert 'Welch' in found.method
    assert (found.z, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-10)


def test_half_samples_are_compared_as_normal():
    found = compare(Estimate(value=5.0, std=0.3), Estimate(value=4.0, std=0.4))
    assert (found.difference, found.std, found.z) == pytest.approx((1, 0.5, 2))
    assert found.p == pytest.approx(0.0455, abs=1e-4)
    assert found.significant


def test_the_sentence_says_which_and_how_much_and_whether():
    larger = compare(Estimate(value=5.0, std=0.1), Estimate(value=4.0, std=0.1), key='fid', names=('a.pkl', 'b.pkl'))
    assert larger.sentence == (
        'fid: a.pkl 5, b.pkl 4; the difference +1 ± 0.14 is larger than noise (p = 1.5e-12, normal, half samples)'
    )
    assert 'is not larger than noise' in compare(Estimate(value=5.0, std=1.0), Estimate(value=4.0, std=1.0)).sentence


def test_what_has_no_error_cannot_be_compared():
    with pytest.raises(ConfigError, match='fid: the second network was measured without an uncertainty'):
        compare(Estimate(value=1, std=0.1), seeds(2), key='fid')


def test_equal_numbers_without_scatter_do_not_differ_and_others_do():
    assert compare(seeds(1, 1), seeds(1, 1)).p == 1
    found = compare(seeds(2, 2), seeds(1, 1))
    assert (found.p, found.z) == (0, np.inf)


def test_equal_networks_are_called_different_as_rarely_as_promised():
    rng = np.random.default_rng(0)
    wrong = {'paired': 0, 'welch': 0, 'normal': 0}
    for _ in range(1000):
        a, b = rng.standard_normal((2, 4))
        wrong['paired'] += compare(seeds(*a), seeds(*b)).significant
        wrong['welch'] += compare(seeds(*a), seeds(*b, first=9)).significant
        wrong['normal'] += compare(Estimate(value=a[0], std=1.0), Estimate(value=b[0], std=1.0)).significant
    assert all(20 <= count <= 80 for count in wrong.values()), wrong


def test_records_become_estimates():
    lines = [
        {'results': {'is50k_mean': v, 'is50k_std': 0.1, 'is50k_mean_std': 0.2}, 'seed': s} for s, v in enumerate((3, 4))
    ]
    many = read_estimates(lines)
    assert list(many) == ['is50k_mean', 'is50k_std']
    assert (many['is50k_mean'].value, many['is50k_mean'].std) == (3.5, pytest.approx(0.5))
    one = read_estimates(lines[:1])
    assert one['is50k_mean'] == Estimate(value=3.0, std=0.2, by_seed=((0, 3.0),))
    assert one['is50k_std'].std is None
