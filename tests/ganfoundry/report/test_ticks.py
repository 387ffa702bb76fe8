"""Columns of stats.jsonl: the numbers of the lines, however they are read."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ganfoundry.report.ticks import Ticks
from tests.support.run_folders import tick_line


def encoded(*lines: str) -> list[bytes]:
    """Returns lines as a file holds them."""
    return [line.encode() for line in lines]


def test_every_number_is_that_of_json():
    lines = [tick_line(index, index * 1000, Loss__G__loss=math.pi * 10.0**-index) for index in range(50)]
    ticks = Ticks()
    assert ticks.add(encoded(*lines)) == 0
    records = [json.loads(line) for line in lines]
    for name in ticks.names():
        expected = [record[name]['mean'] if name in record else math.nan for record in records]
        assert np.array_equal(ticks.column(name), expected, equal_nan=True)
        nimg, values = ticks.series(name)
        assert nimg.tolist() == [record['nimg'] for record in records if name in record]
        assert values.tolist() == [record[name]['mean'] for record in records if name in record]
    assert ticks.last('Progress/tick') == 49
    assert ticks.last('Loss/no_such_name') is None


def test_values_that_are_not_finite_are_kept():
    ticks = Ticks()
    ticks.add(
        encoded(tick_line(0, 0), tick_line(2, 2000, Loss__G__loss=math.nan), tick_line(4, 4000, Loss__D__loss=math.inf))
    )
    assert math.isnan(ticks.column('Loss/G/loss')[1])
    assert ticks.column('Loss/D/loss')[2] == math.inf


@pytest.mark.parametrize(
    'line',
    [
        b'',
        b'\n',
        b'{"nimg": 1000',
        b'[]\n',
        b'{"nimg": -1}\n',
        b'{"nimg": 1e3}\n',
        b'{"nimg": 2, "Loss/G/loss": 3}\n',
        b'{"nimg": 2, "Loss/G/loss": {"num": 1, "mean": "3", "std": 0}}\n',
        b'{"nimg": 2, "timestamp": "now"}\n',
        b'{"nimg": 2, "nimg": 3}\n',
        b'\xff\xfe\n',
        b'[' * 100_000 + b'\n',
        tick_line(1, 1000).replace('"nimg": 1000', '"nimg": NaN').encode(),
        tick_line(1, 1000).replace('"mean": 0.81', '"mean": "x"').encode(),
        tick_line(1, 1000).replace('"mean": 0.81', '"mean": true').encode(),
    ],
)
def test_a_line_that_is_none_of_a_tick_is_passed_over(line: bytes):
    ticks = Ticks()
    assert ticks.add([tick_line(0, 0).encode(), line, tick_line(2, 2000).encode()]) == 0
    assert ticks.column('nimg').tolist() == [0, 2000]


def test_other_spellings_of_json_are_read():
    line = json.dumps({'timestamp': 5, 'nimg': 7, 'Loss/é': {'mean': 1e-3}}, separators=(',', ':'), ensure_ascii=False)
    ticks = Ticks()
    ticks.add([line.encode(), line.replace('7', '8').encode()])
    assert ticks.column('Loss/é').tolist() == [0.001, 0.001]
    assert ticks.column('nimg').tolist() == [7, 8]


def test_a_line_that_does_not_come_later_replaces_those_from_its_moment_on():
    ticks = Ticks()
    ticks.add(encoded(*(tick_line(index, index * 1000) for index in range(6))))
    assert ticks.add(encoded(tick_line(9, 3000), tick_line(10, 4000))) == 3
    assert ticks.column('Progress/tick').tolist() == [0, 1, 2, 9, 10]
    assert len(ticks) == 5
    assert ticks.add(encoded(tick_line(0, 0))) == 0
    assert len(ticks) == 1


def test_lines_of_two_kinds_that_alternate_are_one_column_each():
    ticks = Ticks()
    ticks.add(encoded(*(tick_line(index, index * 1000) for index in range(6))))
    assert ticks.series('Loss/r1_penalty')[0].tolist() == [1000, 3000, 5000]
    assert ticks.column('Progress/tick').tolist() == [0, 1, 2, 3, 4, 5]
    assert ticks.add(encoded(tick_line(2, 2000))) == 2
    assert ticks.series('Loss/r1_penalty')[0].tolist() == [1000]


def test_later_lines_are_appended():
    ticks = Ticks()
    ticks.add(encoded(tick_line(0, 0)))
    assert ticks.add(encoded(tick_line(2, 2000))) == 1
    assert ticks.series('Loss/G/loss', 1)[0].tolist() == [2000]
    assert ticks.add([]) == 2


def test_without_lines_there_are_no_numbers():
    ticks = Ticks()
    assert (len(ticks), ticks.names(), ticks.column('nimg').tolist()) == (0, [], [])
    assert [part.tolist() for part in ticks.series('Loss/G/loss')] == [[], []]
