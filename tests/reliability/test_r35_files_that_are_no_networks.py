"""R35: whatever lies at the path of a network, drawing ends within seconds, in one line that names the file."""

import json
import os
import sys
import time

import pytest

from dnnlib.command import run_command
from ganfoundry.commands import generate
from torch_utils.checkpoint import load_tensors, save_tensors

pytestmark = pytest.mark.slow


def with_record(record):
    """Returns a change of a snapshot's header."""
    return lambda tensors, header: header.update(record=record if isinstance(record, str) else json.dumps(record))


def deep(tensors, header):
    """Asks for ten million layers."""
    record = json.loads(header['record'])
    record['config']['generator']['map_depth'] = 10**7
    header['record'] = json.dumps(record)


def of_nan(tensors, header):
    """Makes one weight NaN."""
    name = next(name for name in tensors if name.startswith('G_ema.') and name.endswith('.weight'))
    tensors[name].view(-1)[0] = float('nan')


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (with_record({}), 'has no "config"'),
        (with_record([]), 'expected an object'),
        (with_record('{' * 10**6), 'more than 1000000 values'),
        (with_record({'config': {'cfg': 7}, 'facts': {}}), '"cfg" is 7'),
        (deep, 'map_depth=10000000: must lie between 0 and 64'),
        (of_nan, 'holds NaN or infinity'),
        (None, 'a named pipe; expected a file'),
    ],
)
def test_drawing_refuses_it_in_one_line(undisturbed, tmp_path, monkeypatch, capsys, change, said):
    path = tmp_path / '\x1b[2Jnet.safetensors'
    if change is None:
        os.mkfifo(path)
    else:
        tensors, header = load_tensors(max(undisturbed.glob('network-snapshot-*.safetensors')))
        change(tensors, header)
        save_tensors(path, tensors, header)
    monkeypatch.setattr(sys, 'argv', ['generate.py', f'--network={path}', '--seeds=0', f'--outdir={tmp_path / "out"}'])
    begun = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        run_command(generate.main)
    assert ended.value.code == 2
    assert time.monotonic() - begun < 60
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert '\\x1b[2Jnet.safetensors' in lines[0]
    assert not list((tmp_path / 'out').glob('*.png'))
