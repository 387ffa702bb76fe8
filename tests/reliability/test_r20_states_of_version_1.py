"""R20: training states written by version 1 load whole, and runs continue from them as version 1 continued.

tests/reliability/data/README.md says how they were written. resumed.json holds what version 1 came to: the losses of
the two remaining steps, and the scalars and sums of squares of the last state. Another machine sums in another order,
hence the tolerances; bench/same_bits.py continues from the same states and compares bits on one machine.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.runs import call, losses
from torch_utils.checkpoint import load_state, load_tensors
from training.build import build
from training.record import from_record

pytestmark = pytest.mark.slow

STATES = Path(__file__).parent / 'data' / 'states'
NAMES = ('ada-lecam', 'fp16', 'guardian')
NEW = ('.scalars.guardian.highest', '.scalars.guardian.varied')  # absent from version 1
LOGITS = ('Loss/scores/', 'Loss/signs/')  # near zero, where rounding is large


def summary(folder: Path) -> dict[str, Any]:
    """Returns the losses of a run folder by tick, and the scalars and sums of squares of its newest state."""
    state = max((folder / 'state').iterdir())
    tensors, _ = load_tensors(state / 'tensors.safetensors')
    squares: dict[str, float] = {}
    for name, tensor in tensors.items():
        kind = '.'.join(name.split('.')[: 2 if name.startswith('opt_') else 1])
        squares[kind] = squares.get(kind, 0.0) + float(tensor.double().square().sum())
    means = [
        {key: value['mean'] for key, value in line.items() if key.startswith('Loss/') and not key.startswith(LOGITS)}
        for line in losses(folder)
    ]
    return {'losses': means, 'scalars': json.loads((state / 'scalars.json').read_text()), 'squares': squares}


def flat(value: Any, where: str = '') -> dict[str, Any]:
    """Returns the leaves of a JSON value by their paths."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {path: leaf for key, item in items for path, leaf in flat(item, f'{where}.{key}').items()}
    return {where: value}


def test_there_are_states_of_every_kind():
    scalars = {name: json.loads((STATES / name / 'state/000000800/scalars.json').read_text()) for name in NAMES}
    assert scalars['ada-lecam']['controller']['p'] > 0
    assert scalars['ada-lecam']['lecam']['num_steps'] == 8
    assert scalars['fp16']['scale_G']['factor'] < 2**16  # it has overflowed
    assert (scalars['guardian']['retry'], scalars['guardian']['guardian']['returned_to']) == (2, 400)
    assert all(path.stat().st_size <= 150_000 for path in STATES.rglob('*'))


@pytest.mark.parametrize('name', NAMES)
def test_a_state_of_version_1_loads_whole(name):
    """A state that was loaded is saved with the same tensors and the same scalars."""
    cfg, spec = from_record(json.loads((STATES / name / 'config.json').read_text()))
    tensors, scalars = load_state(STATES / name / 'state' / '000000800')
    state = build(cfg, spec, torch.device('cpu'))
    state.load(dict(tensors), json.loads(json.dumps(scalars)), 'version 1')
    if 'guardian' in scalars:  # version 1 remembered a diversity in gray levels, which is not used any more
        del scalars['guardian']['most_diverse']
        scalars['guardian'] |= {'highest': 0.0, 'varied': None}
    assert state.scalars() == scalars
    loaded = state.tensors()
    assert loaded.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert torch.equal(loaded[key], tensor), key


@pytest.mark.parametrize('name', NAMES)
def test_a_run_of_version_1_continues_as_version_1_did(name, tmp_path):
    run = shutil.copytree(STATES / name, tmp_path / 'run')
    call(tmp_path, f'--resume={run}', '--metrics=none', '--device=cpu')
    found, expected = flat(summary(run)), flat(json.loads((STATES / 'resumed.json').read_text())[name])
    found = {key: value for key, value in found.items() if not key.startswith(NEW)}
    assert found.keys() == expected.keys()
    assert found['.scalars.nimg'] == 1000
    for key, value in expected.items():
        tolerance = 0.02 if key.startswith('.squares') else 1e-3
        assert found[key] == (None if value is None else pytest.approx(value, rel=tolerance, abs=1e-5)), key


if __name__ == '__main__':  # RUNS: folder with a run folder per name, continued by version 1
    results = {name: summary(Path(sys.argv[1]) / name) for name in NAMES}
    (STATES / 'resumed.json').write_text(json.dumps(results, indent=1) + '\n')
