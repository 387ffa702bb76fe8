"""Tests of records in JSON: limits, damage, and typed fields."""

import contextlib
import json
import math
import os
import tracemalloc

import pytest

from dnnlib.errors import RecordError
from dnnlib.records import DEFAULT, RESULTS, Limits, parse_json, parse_record, read_record, read_records
from tests.support.mutations import MARKS, mutated

GOOD = {'nimg': 7, 'name': 'a', 'list': ['x', 'y'], 'inner': {'on': True, 'loss': 0.5}, 'rows': [{'n': 1}]}


def test_fields_are_returned_by_their_type(tmp_path):
    path = tmp_path / 'config.json'
    path.write_text('\ufeff' + json.dumps(GOOD))
    record = read_record(path)
    assert record.whole('nimg') == 7
    assert record.number('nimg') == 7.0
    assert record.text('name') == 'a'
    assert record.texts('list') == ['x', 'y']
    assert record.record('inner').flag('on') is True
    assert [row.whole('n') for row in record.records('rows')] == [1]
    assert 'absent' not in record


@pytest.mark.parametrize(
    ('read', 'said'),
    [
        (lambda r: r.whole('absent'), 'file: has no "absent"'),
        (lambda r: r.whole('name'), 'file: "name" is "a"; expected a whole number from 0'),
        (lambda r: r.whole('nimg', 0, 6), '"nimg" is 7; expected a whole number from 0 to 6'),
        (lambda r: r.text('nimg'), '"nimg" is 7; expected a text'),
        (lambda r: r.number('inner'), '"inner" is an object {...}; expected a number'),
        (lambda r: r.record('inner').whole('on'), '"inner": "on" is true; expected a whole number'),
        (lambda r: r.record('list'), '"list" is a list [...]; expected an object'),
        (lambda r: r.records('list'), '"list[0]" is "x"; expected an object'),
        (lambda r: r.texts('rows'), 'expected a list of texts'),
    ],
)
def test_a_wrong_field_is_named_with_the_file_and_what_was_expected(read, said):
    with pytest.raises(RecordError) as caught:
        read(parse_record(json.dumps(GOOD), 'file'))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'f, line 1: not JSON'),
        ('{"a": 1,\n"b" 2}', 'f, line 2: not JSON'),
        (b'{"a":\n"\xff"}', 'f, line 2: not UTF-8'),
        ('[]', 'expected an object'),
        ('{"a": 1, "a": 2}', '"a" is given twice'),
        ('{"a": NaN}', 'NaN, which is not a finite number'),
        ('{"a": 1e999}', 'not a finite number'),
        ('{"a": ' + '9' * 5000 + '}', 'a number of 5000 digits'),
        ('{"a": ' + '[' * 40 + ']' * 40 + '}', 'nested deeper than 32'),
        ('{"a": ' + '[' * 100_000 + ']' * 100_000 + '}', 'nested deeper than 32'),
        ('{"' + 'k' * 2000 + '": 1}', 'a key of 2000 characters'),
        ('{"a": "' + 't' * (1 << 21) + '"}', 'a text of 2097152 characters'),
        ('{"a": [' + '[],' * 1_000_000 + '1]}', 'more than 1000000 values'),
        (' ' * (17 << 20), 'larger than'),
    ],
)
def test_damage_and_excess_are_one_kind_of_error_that_names_the_place(text, said):
    with pytest.raises(RecordError) as caught:
        parse_record(text, 'f')
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


def test_duplicate_keys_among_many_are_found_at_once():
    text = '{' + ','.join(f'"{i}": 0' for i in range(300_000)) + ', "0": 1}'
    with pytest.raises(RecordError, match='"0" is given twice'):
        parse_record(text, 'f')


def test_results_may_be_nan():
    assert math.isnan(parse_record('{"loss": NaN}', 'f', RESULTS).number('loss', finite=False))


def test_lines_that_are_damaged_are_reported_and_a_cut_last_line_is_not(tmp_path):
    path, damaged = tmp_path / 'stats.jsonl', []
    path.write_bytes(b'{"nimg": 1}\n\n[]\n{"nimg": \n\xff\n' + b'x' * 100 + b'\n{"nimg": 2}\n{"nimg": 3')
    limits = Limits(file_bytes=50)
    assert [r.whole('nimg') for r in read_records(path, limits, damaged=damaged.append)] == [1, 2]
    assert [str(error).partition(':')[0].rpartition(', ')[2] for error in damaged] == [
        f'line {n}' for n in (3, 4, 5, 6)
    ]
    with pytest.raises(RecordError, match='line 3'):
        list(read_records(path))
    assert list(read_records(tmp_path / 'absent')) == []


def test_a_field_of_a_line_is_named_with_the_line(tmp_path):
    path = tmp_path / 'stats.jsonl'
    path.write_text('{"nimg": 1}\n{}\n')
    with pytest.raises(RecordError, match=r'stats.jsonl, line 2: has no "nimg"'):
        [record.whole('nimg') for record in read_records(path)]


def test_a_record_that_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for name, said in (('pipe', 'a named pipe'), ('absent', 'no such file'), ('', 'a folder')):
        with pytest.raises(RecordError, match=said):
            read_record(tmp_path / name)
    with pytest.raises(RecordError, match='a named pipe'):
        list(read_records(tmp_path / 'pipe'))


def test_2000_mutations_of_a_record_are_read_or_refused_within_memory():
    texts = [json.dumps(GOOD).encode(), b'[]', b'"' + b'\\u0000' * 9 + b'"', b'{"a": -0.0e-9}']
    pieces = [*MARKS, b'[', b']', b',', b':', b'\\', b'\xff', b'\\ud800', b'1e400', b'9' * 99]
    tracemalloc.start()
    try:
        for case in range(2000):
            with contextlib.suppress(RecordError):
                parse_json(mutated(texts[case % len(texts)], case, pieces), 'f', DEFAULT)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
