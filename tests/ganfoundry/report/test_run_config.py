"""Config in rows, and the differences of several runs."""

from __future__ import annotations

import json
from pathlib import Path

from ganfoundry.report.run_config import differences_of, flat
from ganfoundry.report.run_report import open_runs
from tests.support.run_folders import write_run


def test_nested_values_are_rows_with_paths():
    assert flat({'a': {'b': 1, 'c': [1, 2]}, 'd': 'text', 'e': None}) == {
        'a.b': '1',
        'a.c': '[1, 2]',
        'd': 'text',
        'e': 'null',
    }


def test_only_what_differs_is_a_difference(tmp_path: Path):
    first, second, third = (write_run(tmp_path / name) for name in 'abc')
    record = json.loads((second / 'config.json').read_text())
    record['config']['r1']['gamma'] = 77
    record['config']['mine'] = {'weight': 3}
    (second / 'config.json').write_text(json.dumps(record))
    (third / 'config.json').unlink()
    rows = {row[0]: row[1:] for row in differences_of(open_runs([first, second]))}
    assert set(rows) == {'r1.gamma', 'mine.weight'}
    assert rows['r1.gamma'][1] == '77'
    assert rows['mine.weight'] == ['–', '3']
    assert differences_of(open_runs([first]))[:1] == []
    assert len(differences_of(open_runs([first, third]))) > 50
