"""Results of runs: collapse, ends, and numbers over seeds."""

from dataclasses import replace

import pytest

from ganfoundry.compare.plan import Plan
from ganfoundry.compare.results import Result, collapse, end_of, mean_end, over_runs

PLAN = Plan(rows=(), seeds=(0,), kimg=20, batch=16, metrics=('fd',))


@pytest.mark.parametrize(
    ('values', 'lower', 'samples_to_real', 'expected'),
    [
        ([300, 200, 100, 90, 80, 70], True, 0.9, ''),
        ([300, 200, 100, 90, 80, 70], True, 0.3, 'its samples differ 0.30 times as much as real images'),
        ([90, 100, 100, 90, 100, 104], True, 0.9, ''),  # within the tolerance
        ([90, 100, 100, 90, 100, 140], True, 0.9, 'its metric went from 100 at 8 kimg to 140 at the end'),
        ([1, 3, 4, 5, 5, 6], False, 0.9, ''),
        ([1, 3, 4, 5, 5, 2], False, 0.9, 'its metric went from 3 at 8 kimg to 2 at the end'),
        ([], True, None, ''),
    ],
)
def test_collapse_follows_its_two_rules(values, lower, samples_to_real, expected):
    curve = [(4.0 * (i + 1), float(value)) for i, value in enumerate(values)]
    assert collapse(curve, lower, samples_to_real).startswith(expected)
    assert bool(collapse(curve, lower, samples_to_real)) == bool(expected)


def test_the_end_is_measured_at_the_length_or_after_the_hours():
    curve = [(10.0, 5.0), (15.0, 4.0)]
    assert end_of(curve, 20, PLAN) is None
    assert end_of([*curve, (20.016, 3.0)], 20, PLAN) == 3.0
    assert end_of(curve, 20, replace(PLAN, budget='hours', hours=1.0)) == 4.0
    assert end_of([], 20, replace(PLAN, budget='hours', hours=1.0)) is None


def test_spread_is_over_the_runs_that_reached_their_end():
    results = [Result(seed=0, state='done', reason='', ends={'fd': 10.0}, memory_gb=1.0)]
    assert mean_end(results, 'fd') == (10.0, None)
    results += [Result(seed=1, state='diverged', reason='x')]
    results += [Result(seed=2, state='collapsed', reason='x', ends={'fd': 14.0}, memory_gb=2.0)]
    assert mean_end(results, 'fd') == (12.0, pytest.approx(8**0.5))
    assert mean_end(results, 'kid') == (None, None)
    assert over_runs(results, 'memory_gb', max) == 2.0
    assert over_runs(results, 'diversity', min) is None
