"""W&B itself, in offline mode: what its file holds after a run, a continuation and a rewind."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dnnlib.files import append_line
from tests.support.run_records import METRIC, add_snapshot, add_tick, make_folder
from tests.support.runs import call
from training.run.run_folder import RunFolder

pytest.importorskip('wandb')
pytestmark = pytest.mark.slow


def records_of(path: Path) -> Iterator[Any]:
    """Yields the records of a .wandb file: a log of LevelDB in blocks of 32 kB behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, offset, record = path.read_bytes(), 7, b''
    while offset + 7 <= len(data):
        if 32768 - offset % 32768 < 7:
            offset += 32768 - offset % 32768
        _, size, kind = struct.unpack('<IHB', data[offset : offset + 7])
        record += data[offset + 7 : offset + 7 + size]
        offset += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b''


def summary_of(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[int]]:
    """Returns the id, name and group of the run in a file, its lines, and its exit codes."""
    run, lines, exits = {}, [], []
    for record in records_of(path):
        kind = record.WhichOneof('record_type')
        if kind == 'run' and not run:
            run = {'id': record.run.run_id, 'name': record.run.display_name, 'group': record.run.run_group,
                   'project': record.run.project}  # fmt: skip
        elif kind == 'history':
            items = {item.key or '/'.join(item.nested_key): item.value_json for item in record.history.item}
            lines.append({name: json.loads(value) for name, value in items.items()})
        elif kind == 'exit':
            exits.append(record.exit.exit_code)
    return run, lines, exits


def send(folder: RunFolder) -> tuple[dict[str, Any], list[dict[str, Any]], list[int]]:
    """Sends what is new with the real package, and returns what its new file holds."""
    before = set(folder.path.glob('wandb/offline-run-*/*.wandb'))
    call(folder.path, str(folder.path), '--to=wandb', '--mode=offline', script='log_run.py')
    (new,) = set(folder.path.glob('wandb/offline-run-*/*.wandb')) - before
    return summary_of(new)


def test_a_run_its_continuation_and_its_segment_after_a_rewind(tmp_path):
    folder = make_folder(tmp_path / '00000-run')
    for nimg in (200, 400):
        add_tick(folder, nimg)
    run, lines, exits = send(folder)
    assert run == {'id': 'a1b2', 'name': '00000-run', 'group': 'a1b2', 'project': 'ganfoundry'}
    assert [(line['nimg'], line.get('Loss/G/loss')) for line in lines] == [(0, None), (200, 0.5), (400, 0.5)]
    assert exits == [0]
    media = [path.name.partition('_')[0] for path in folder.path.glob('wandb/offline-run-*/files/media/images/*.png')]
    assert sorted(media) == ['fakes', 'reals']

    add_tick(folder, 1000, loss=float('nan'))
    add_snapshot(folder, 1000)
    run, (line,), _ = send(folder)
    assert run['id'] == 'a1b2'
    assert math.isnan(line['Loss/G/loss'])
    assert (line['_step'], line[f'Metrics/{METRIC}'], line['fakes/_type']) == (1000, 100.0, 'image-file')

    folder.rewind(500)
    add_tick(folder, 1000, loss=0.25)
    append_line(folder.metric('kid'), json.dumps({'results': {'kid': 2.0}, 'nimg': 1000}))
    append_line(folder.metric('kid'), json.dumps({'results': {'kid': 3.0}, 'nimg': 400}))  # measured afterwards
    run, (line, late), _ = send(folder)
    assert (run['id'], run['name'], run['group']) == ('a1b2-2', '00000-run (2)', 'a1b2')
    assert [line[name] for name in ('nimg', '_step', 'Loss/G/loss', 'Metrics/kid')] == [1000, 1000, 0.25, 2.0]
    assert [late[name] for name in ('nimg', '_step', 'Metrics/kid')] == [400, 1001, 3.0]
