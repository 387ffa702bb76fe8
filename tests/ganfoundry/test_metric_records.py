"""Records of calc_metrics.py: a file or stdout, and never lost."""

import json

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.metric_records import MetricRecords


def test_lines_are_appended_to_a_file_or_printed(tmp_path, capsys):
    for value in (1, 2):
        MetricRecords(str(tmp_path / 'records.jsonl')).write({'value': value})
    assert [json.loads(line) for line in (tmp_path / 'records.jsonl').read_text().splitlines()] == [
        {'value': 1},
        {'value': 2},
    ]
    assert capsys.readouterr().out == ''
    MetricRecords('-').write({'value': 3})
    assert json.loads(capsys.readouterr().out) == {'value': 3}


def test_a_record_that_cannot_be_written_is_printed(tmp_path, capsys, monkeypatch):
    records = MetricRecords(str(tmp_path / 'records.jsonl'))
    (tmp_path / 'records.jsonl').mkdir()
    records.write({'value': 4})
    assert json.loads(capsys.readouterr().out) == {'value': 4}


def test_a_place_that_cannot_be_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(ConfigError, match='there is no folder'):
        MetricRecords(str(tmp_path / 'absent' / 'records.jsonl'))
    with pytest.raises(ConfigError, match='is a folder; name a file'):
        MetricRecords(str(tmp_path))


def test_a_record_never_holds_a_number_that_json_does_not_know():
    with pytest.raises(ValueError, match='not JSON compliant'):
        MetricRecords('-').write({'value': float('nan')})
