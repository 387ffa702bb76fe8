"""A verdict names the best row, the rows that chance may explain, the worse ones, and those that were not tested."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from dnnlib.errors import DataError
from metrics.trials import Trials, Verdict, judge


def verdict(*rows: Trials, lower_is_better: bool = True) -> Verdict:
    return judge(rows, metric='fd', lower_is_better=lower_is_better)


GOOD = Trials(label='good', values=(100.0, 102.0, 98.0))
CLOSE = Trials(label='close', values=(101.0, 99.5, 104.0))
POOR = Trials(label='poor', values=(150.0, 145.0, 152.0))


def test_the_best_the_tied_and_the_worse_rows_are_named_in_words():
    found = verdict(POOR, CLOSE, GOOD)
    assert [(row.label, row.status) for row in found.standings] == [
        ('good', 'best'),
        ('close', 'tied'),
        ('poor', 'worse'),
    ]
    first, second = found.sentences()
    assert first.startswith('good has the best mean (fd 99.99, 3 seeds), but close cannot be told apart from it: ')
    assert second.startswith('Worse than good: poor by +49 % (')


def test_a_larger_metric_is_better_where_the_metric_says_so():
    found = verdict(POOR, CLOSE, GOOD, lower_is_better=False)
    assert [row.status for row in found.standings] == ['best', 'worse', 'worse']
    assert found.standings[0].label == 'poor'
    assert found.standings[1].ratio == pytest.approx(
        math.exp(math.fsum(map(math.log, CLOSE.values)) / 3 - math.fsum(map(math.log, POOR.values)) / 3)
    )


def test_a_value_that_is_not_finite_is_refused_with_the_name_of_its_row():
    with pytest.raises(DataError, match='odd: fd is nan'):
        verdict(GOOD, Trials(label='odd', values=(100.0, math.nan)))


def test_a_logarithm_that_was_asked_for_needs_positive_values():
    with pytest.raises(DataError, match=r'zero: recall is 0\.0, which has no logarithm'):
        judge([GOOD, Trials(label='zero', values=(0.0, 1.0))], metric='recall', lower_is_better=False, scale='log')


def test_one_seed_never_gives_a_verdict():
    found = verdict(Trials(label='a', values=(1.0,)), Trials(label='b', values=(900.0,)))
    assert {row.status for row in found.standings} == {'untested'}
    assert found.sentences() == [
        'No verdict: it needs two rows of at least two seeds each that have not collapsed.',
        'Not tested: a (one seed shows no spread), b (one seed shows no spread).',
    ]
    half = verdict(GOOD, Trials(label='b', values=(900.0,)), Trials(label='c', values=()))
    assert [row.status for row in half.standings] == ['untested'] * 3
    assert half.no_verdict


def test_a_row_without_spread_is_named_and_the_others_are_tested():
    found = verdict(GOOD, POOR, Trials(label='flat', values=(90.0, 90.0)))
    assert [row.status for row in found.standings] == ['best', 'worse', 'untested']
    assert found.sentences()[-1] == 'Not tested: flat (2 seeds gave the same 90: no spread to test against).'


def test_half_of_the_runs_collapse_a_row_and_fewer_are_named_in_its_reason():
    found = verdict(
        GOOD,
        Trials(label='once', values=(150.0, 148.0, 155.0), collapsed=1),
        Trials(label='twice', values=(101.0, 102.0), collapsed=1, diverged=1),
        Trials(label='gone', values=(), diverged=3),
    )
    assert {row.label: row.status for row in found.standings} == {
        'good': 'best',
        'once': 'worse',
        'twice': 'collapsed',
        'gone': 'collapsed',
    }
    assert found.standings[1].reason == '1 of 3 runs collapsed or diverged'
    assert found.sentences()[-1] == 'Collapsed: twice (2 of 3 runs), gone (3 of 3 runs).'


def test_a_metric_that_may_be_negative_is_tested_on_its_own_scale():
    near = Trials(label='near', values=(-0.001, 0.002, 0.0))
    far = Trials(label='far', values=(0.1, 0.11, 0.105))
    found = judge([far, near], metric='kid', lower_is_better=True)
    assert found.scale == 'linear'
    assert [(row.label, row.status) for row in found.standings] == [('near', 'best'), ('far', 'worse')]
    assert found.standings[1].ratio == pytest.approx(0.105 - 0.001 / 3)
    assert found.sentences()[1].startswith('Worse than near: far by +0.1 (+0.0')


def test_rows_with_different_numbers_of_seeds_are_tested_together():
    found = verdict(GOOD, Trials(label='two', values=(150.0, 152.0)), Trials(label='four', values=(99.0, 101, 100, 98)))
    assert {row.label: row.status for row in found.standings} == {'four': 'best', 'good': 'tied', 'two': 'worse'}
    assert found.resolution is not None
    assert found.resolution.num_seeds > 4


def test_means_and_intervals_are_those_of_the_logarithms_in_the_unit_of_the_metric():
    best, poor = verdict(GOOD, POOR).standings
    logs = np.log(GOOD.values)
    low, high = scipy.stats.t.interval(0.95, 2, logs.mean(), logs.std(ddof=1) / math.sqrt(3))
    assert best.mean == pytest.approx(scipy.stats.gmean(GOOD.values))
    assert best.sd == pytest.approx(logs.std(ddof=1))
    assert best.interval == pytest.approx((math.exp(low), math.exp(high)))
    assert best.ratio == 1.0
    assert poor.ratio == pytest.approx(scipy.stats.gmean(POOR.values) / scipy.stats.gmean(GOOD.values))
    assert poor.ratio_interval is not None
    low, high = poor.ratio_interval
    assert low * high == pytest.approx(poor.ratio**2)
    assert 1 < low < poor.ratio < high


def test_the_unit_of_the_metric_does_not_change_a_verdict():
    thousand = [Trials(label=row.label, values=tuple(1000 * x for x in row.values)) for row in (GOOD, CLOSE, POOR)]
    for one, other in zip(verdict(GOOD, CLOSE, POOR).standings, verdict(*thousand).standings, strict=True):
        assert (one.status, one.ratio, one.p) == (other.status, pytest.approx(other.ratio), pytest.approx(other.p))
