"""A verdict names the best row, the rows that chance may explain, the worse ones, and those that were not tested."""

from __future__ import annotations

import math

import pytest

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


def test_one_seed_never_gives_a_verdict():
    found = verdict(Trials(label='a', values=(1.0,)), Trials(label='b', values=(900.0,)))
    assert {row.status for row in found.standings} == {'untested'}
    assert found.sentences()[0].startswith('No verdict: ')
