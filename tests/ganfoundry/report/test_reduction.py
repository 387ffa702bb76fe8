"""Curves with fewer points keep their mean and their range."""

from __future__ import annotations

import numpy as np
import pytest

from ganfoundry.report.reduction import reduced


def test_a_short_curve_is_unchanged():
    few = reduced(np.arange(5.0), np.arange(5.0) ** 2, max_points=5)
    assert few.group == 1
    assert few.y.tolist() == [0, 1, 4, 9, 16]
    assert len(few.low) == len(few.high) == 0


@pytest.mark.parametrize('num_points', [11, 600, 601, 12345])
def test_mean_and_range_are_those_of_the_points_of_each_group(num_points: int):
    y = np.random.RandomState(0).standard_normal(num_points)
    few = reduced(np.arange(float(num_points)), y, max_points=10)
    assert len(few.x) == len(few.y) == len(few.low) == len(few.high) == 10
    assert few.x[-1] == num_points - 1
    assert (np.diff(few.x) > 0).all()
    assert few.low.min() == y.min()
    assert few.high.max() == y.max()
    sizes = np.diff([-1, *few.x])
    assert sizes.max() <= few.group
    assert np.isclose((few.y * sizes).sum(), y.sum())


def test_values_that_are_not_finite_do_not_count_and_a_group_of_them_is_a_gap():
    y = np.ones(40)
    y[:4] = np.nan
    y[5] = np.inf
    few = reduced(np.arange(40.0), y, max_points=10)
    assert np.isnan([few.y[0], few.low[0], few.high[0]]).all()
    assert (few.y[1:] == 1).all()
    assert (few.high[1:] == 1).all()
