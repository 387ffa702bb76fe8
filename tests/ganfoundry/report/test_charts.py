"""Charts as the page's script reads them."""

from __future__ import annotations

import json
import math

import pytest

from ganfoundry.report.charts import Chart, Series, identifier, rounded


def test_values_that_are_not_finite_are_gaps_and_others_keep_six_digits():
    assert rounded([1 / 3, math.nan, -math.inf, 0, 1234567]) == [0.333333, None, None, 0.0, 1234570.0]


def test_a_chart_is_strict_json():
    chart = Chart(title='Loss of G', series=[Series(name='a', x=[0, 1], y=[math.nan, 2], low=[0, 1], high=[3, 4])])
    data = json.loads(json.dumps(chart.data(), allow_nan=False))
    assert data['series'][0] | {'y': [None, 2.0], 'low': [0, 1], 'high': [3, 4]} == data['series'][0]


def test_an_identifier_has_letters_digits_and_hyphens():
    assert identifier('Loss of G/D <b>') == 'loss-of-g-d-b'
    assert Chart(title='Loss', series=[], key='a b').identifier == 'a-b'


def test_lists_of_unequal_length_are_a_mistake_of_the_programmer():
    with pytest.raises(AssertionError):
        Series(name='a', x=[0, 1], y=[1]).data()
