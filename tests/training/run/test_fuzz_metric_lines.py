"""Fuzzing of metric-NAME.jsonl: whatever it contains, reading it and choosing the best give a result."""

import json
import math

import pytest

from dnnlib.errors import RecordError
from dnnlib.records import Record
from tests.support.mutations import mutated
from training.run.lines import COMPARED, check_measurement, first_result, same
from training.run.run_folder import RunFolder

CASES = 2000


def test_2000_damaged_records_of_a_metric_are_read_and_compared(tmp_path):
    lines = [
        {'results': {'fd': 9.0 - k, 'fd_std': 0.5}, 'metric': 'fd', 'nimg': 1000 * k, 'provenance': {'seeds': [0]}}
        for k in range(3)
    ]
    whole = ''.join(json.dumps(line) + '\n' for line in lines).encode()
    folder = RunFolder(tmp_path)
    for case in range(CASES):
        folder.metric('fd').write_bytes(mutated(whole, case))
        curve = folder.curve('fd')
        assert [line['nimg'] for line in curve] == sorted({line['nimg'] for line in curve})
        assert all(math.isfinite(first_result(line)) and same(line, curve[-1], COMPARED) for line in curve)
        if case % 10 == 0:
            assert (folder.best('fd', lower_is_better=True) is None) == (not curve)
            for line in folder.results('fd'):
                check_measurement(Record(line, 'line'))


def test_a_line_without_numbers_or_without_its_images_is_no_measurement():
    good = {'results': {'fd': 1.5}, 'nimg': 1000}
    check_measurement(Record(good, 'line'))
    check_measurement(Record(good | {'results': {'fd': math.nan}}, 'line'))  # `curve` omits it
    for bad in (
        {},
        good | {'results': {}},
        good | {'results': [1.5]},
        good | {'results': {'fd': '1.5'}},
        good | {'results': {'fd': True}},
        good | {'nimg': -1},
        good | {'nimg': 1.5},
        good | {'provenance': []},
        good | {'snapshot': 3},
        {'nimg': 1000},
    ):
        with pytest.raises(RecordError, match='line'):
            check_measurement(Record(bad, 'line'))
