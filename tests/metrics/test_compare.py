"""Comparisons that are wrong as often as they say, and estimates read from records."""

import numpy as np
import pytest

from dnnlib.errors import ConfigError
from metrics.compare import compare, read_estimates
from metrics.uncertainty import Estimate, over_seeds


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
        'fid: significant difference. a.pkl 5, b.pkl 4; the difference +1 ± 0.14 is larger than noise (p = 1.5e-12, '
        'normal, half samples)'
    )
    noise = compare(Estimate(value=5.0, std=1.0), Estimate(value=4.0, std=1.0), lower_is_better=True)
    assert noise.sentence.startswith('the metric: no significant difference. ')
    assert 'is not larger than noise' in noise.sentence
    assert noise.better is None


@pytest.mark.parametrize(('lower_is_better', 'better'), [(True, 'B'), (False, 'A')])
def test_the_better_one_is_named_by_the_direction_of_the_metric(lower_is_better, better):
    a, b = Estimate(value=5.0, std=0.1), Estimate(value=4.0, std=0.1)
    found = compare(a, b, key='fid', lower_is_better=lower_is_better)
    assert found.better == better
    assert found.sentence.startswith(f'fid: {better} is better. A 5, B 4; ')


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
