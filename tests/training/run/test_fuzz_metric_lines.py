"""Fuzzing: whatever stands in metric-NAME.jsonl, reading, choosing the best, and drawing give a result or a way out."""

import json
import math

from tests.support.mutations import mutated
from training.run.run_folder import COMPARED, RunFolder, first_result, is_measurement, same

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
            assert all(is_measurement(line) for line in folder.results('fd'))


def test_a_line_without_numbers_or_without_its_images_is_no_measurement():
    good = {'results': {'fd': 1.5}, 'nimg': 1000}
    assert is_measurement(good)
    assert is_measurement(good | {'results': {'fd': math.nan}})  # `curve` omits it
    for bad in (
        {},
        good | {'results': {}},
        good | {'results': [1.5]},
        good | {'results': {'fd': '1.5'}},
        good | {'results': {'fd': True}},
        good | {'nimg': -1},
        good | {'nimg': 1.5},
        good | {'provenance': []},
        {'nimg': 1000},
    ):
        assert not is_measurement(bad)
