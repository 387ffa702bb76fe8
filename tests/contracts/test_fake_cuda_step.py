"""One training step of every --cfg on fake CUDA tensors: no operation mixes devices, and the host never waits."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.support.forks import environment
from tests.support.recipes import own_recipes
from training.config import TERM_FIELDS

pytestmark = pytest.mark.slow


def outcomes(*names: str) -> list:
    """Returns the lines of `python -m tests.support.fake_cuda`, a process of its own: the guard comes before torch."""
    command = [sys.executable, '-m', 'tests.support.fake_cuda', *names]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_cfg_trains_without_a_wait_or_a_tensor_on_the_wrong_device():
    planted, *found = outcomes()
    assert planted == ['reads a number', 'copies to the host', 'copies to the device', 'mixes devices']
    assert sorted(line['cfg'] for line in found) == own_recipes()
    problems = {line['cfg']: line['problem'] for line in found if line['problem']}
    assert problems == {}
    assert all({'Gmain', 'Dmain'} <= set(line['phases']) for line in found)


def test_every_term_trains_so_too():
    weights = [f'{name}.{"gamma" if name in ("r1", "r2") else "weight"}=1' for name in TERM_FIELDS]
    _, found = outcomes(f'auto:{",".join(weights)},aug.kind=apa')
    assert found['problem'] is None
    assert found['phases'] == ['Gmain', 'Greg', 'Dmain', 'Dreg']
