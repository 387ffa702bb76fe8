"""Training on fake CUDA tensors, without a GPU: no operation mixes devices, and the host never waits in a step."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.support.fake_cuda.__main__ import GROUPS
from tests.support.forks import environment
from tests.support.recipes import own_recipes

pytestmark = pytest.mark.slow

Outcomes = dict[str, dict[str, str | None]]


@pytest.fixture(scope='module')
def outcomes() -> Outcomes:
    """The problem of every case by group and name, from one process: the guard comes before torch."""
    command = [sys.executable, '-m', 'tests.support.fake_cuda', *GROUPS]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, ended(command, done)
    found: Outcomes = {group: {} for group in GROUPS}
    for line in map(json.loads, done.stdout.splitlines()):
        found[line['group']][line['name']] = line['problem']
    return found


def ended(command: list[str], done: subprocess.CompletedProcess[str]) -> str:
    """Returns how a process has failed: its exit code, the last case that it has printed, and its stderr."""
    *_, last = done.stdout.splitlines() or ['none']
    return f'{" ".join(command[1:])}: exit code {done.returncode}; last case: {last}; stderr:\n{done.stderr}'


def failures(found: dict[str, str | None]) -> dict[str, str]:
    """Returns the cases with a problem."""
    return {name: problem for name, problem in found.items() if problem is not None}


def test_every_cfg_trains_in_bf16_and_fp16_without_a_wait(outcomes):
    found = outcomes['recipes']
    assert set(found) == {f'{name} {precision}' for name in own_recipes() for precision in ('bf16', 'fp16')}
    assert failures(found) == {}


def test_every_other_choice_of_a_run_trains_without_a_wait(outcomes):
    found = outcomes['variants']
    expected = {
        'pipe bgcfnc',
        'diffaug',
        'apa adapts',
        'all terms fp16',
        'rmsprop bf16',
        'deterministic',
        '2 processes',
    }
    assert expected <= set(found)
    assert failures(found) == {}


def test_sheets_states_and_metrics_mix_no_devices(outcomes):
    found = outcomes['tasks']
    assert len(found) == 4
    assert failures(found) == {}


def test_planted_faults_are_found(outcomes):
    found = outcomes['faults']
    assert len(found) == 6
    causes = {name: str(problem).strip().splitlines()[-1] for name, problem in found.items()}
    mixed = {name for name, cause in causes.items() if 'found at least two devices' in cause}
    waits = {name for name, cause in causes.items() if 'the host waits for' in cause}
    assert mixed == {'a tensor of the CPU in the pipe', 'noise drawn on the CPU'}
    assert mixed | waits == set(found)


def test_operations_that_wait_raise_and_others_do_not(outcomes):
    assert None not in outcomes['operations'].values()
    assert failures(outcomes['harmless']) == {}


def test_costs_that_are_known_by_hand_are_counted(outcomes):
    assert len(outcomes['counts']) > 10
    assert failures(outcomes['counts']) == {}


def test_a_late_thread_of_autograd_does_not_abort_the_process(outcomes):
    assert outcomes['exit'] == {'a thread of autograd is late': None}  # the last case: the process ended with code 0
