"""Config of a run as rows of text, and the rows in which several runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ganfoundry.report.run_commands import argv_of
from ganfoundry.report.run_reading import RunReading

ABSENT = '–'
# Fields of config.json that are compared, besides the config itself.
COMPARED_FIELDS = ('facts', 'versions', 'commit', 'operations', 'threads', 'machine', 'source')


def flat(values: Mapping[str, Any], prefix: str = '') -> dict[str, str]:
    """Returns nested values as texts by their paths: {'r1.gamma': '0.5'}."""
    rows: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows |= flat(value, f'{prefix}{name}.')
        else:
            rows[f'{prefix}{name}'] = value if isinstance(value, str) else json.dumps(value)
    return rows


def config_rows(record: Mapping[str, Any]) -> dict[str, str]:
    """Returns every field of a record's config as text, by its `--set` path."""
    config = record.get('config')
    return flat(config) if isinstance(config, Mapping) else {}


def differences_of(runs: Sequence[RunReading]) -> list[list[str]]:
    """Returns [path, value of the first run, of the second, ...] for the fields in which the records differ."""
    rows = [_all_rows(run.record) for run in runs]
    paths = dict.fromkeys(path for each in rows for path in each)
    table = [[path, *(each.get(path, ABSENT) for each in rows)] for path in paths]
    return [row for row in table if len(set(row[1:])) > 1]


def _all_rows(record: Mapping[str, Any]) -> dict[str, str]:
    rows = config_rows(record)
    rows |= flat({name: record[name] for name in COMPARED_FIELDS if name in record})
    data = record.get('data')
    if isinstance(data, Mapping) and isinstance(data.get('listing'), str):
        rows['digest of the data'] = data['listing'][:16]
    if argv := argv_of(dict(record)):
        rows['command line'] = ' '.join(argv[1:])
    return rows
