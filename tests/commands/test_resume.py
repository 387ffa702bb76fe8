"""A run that was killed or stopped ends with the same bits as one that was not; each launch is a command of its own.

tests/reliability has more moments, faults and processes, forked from one interpreter.
"""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from tests.support import runs
from tests.support.forks import environment
from tests.support.runs import TINY, call, command, last_state, losses, make_zip, only_run

pytestmark = pytest.mark.slow

FLAGS = ('--cfg=squeeze', '--kimg=1', '--mirror=1', '--cond=1', '--precision=bf16', '--set', 'pl.weight=2',
         '--set', 'style_mixing_prob=0.9', '--set', 'r1.interval=4')  # fmt: skip
NUM_KILLS = 1


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip')


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory, data):
    """A run from beginning to end."""
    outdir = tmp_path_factory.mktemp('undisturbed')
    call(outdir, f'--data={data}', *TINY, *FLAGS)
    return only_run(outdir)


def start(outdir, *flags):
    """Starts a run in a session of its own, so that its whole process group can be killed."""
    return subprocess.Popen(command(outdir, *flags), env=environment(), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip


def lines_in(folder):
    path = folder / 'stats.jsonl'
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_for_progress(process, outdir):
    """Waits until the run has written another line of statistics."""
    folders = list(outdir.glob('0*'))
    before = lines_in(folders[0]) if folders else 0
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if (folders := list(outdir.glob('0*'))) and lines_in(folders[0]) != before:
            return
        time.sleep(0.02)


def test_killed_at_random_moments_a_run_ends_with_the_same_bits(tmp_path, data, undisturbed):
    draw = random.Random(0)
    flags = (f'--data={data}', *TINY, *FLAGS, '--workers=1', '--resume=auto')
    kills = 0
    while True:
        process = start(tmp_path, *flags)
        if kills < NUM_KILLS:
            wait_for_progress(process, tmp_path)
            time.sleep(draw.uniform(0, 0.5))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
        _, errors = process.communicate(timeout=200)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
    assert kills == NUM_KILLS
    folder = only_run(tmp_path)
    assert last_state(folder) == last_state(undisturbed)
    assert losses(folder) == losses(undisturbed)


def test_a_request_to_stop_saves_says_how_to_go_on_and_loses_no_bit(tmp_path, data, undisturbed):
    outdir = tmp_path / 'runs'
    launch = runs.start(tmp_path, *command(outdir, f'--data={data}', *TINY, *FLAGS, '--workers=1')[1:])
    wait_for_progress(launch, outdir)
    launch.kill(signal.SIGTERM, group=True)  # as a terminal and a batch system do
    assert launch.wait() == 143
    folder = only_run(outdir)
    assert f'continue: python train.py --resume={folder}' in launch.said()
    call(outdir, f'--resume={folder}')
    assert last_state(folder) == last_state(undisturbed)
    assert losses(folder) == losses(undisturbed)


def test_a_finished_run_is_not_trained_further(tmp_path, data, undisturbed):
    before = last_state(undisturbed), losses(undisturbed)
    said = call(tmp_path, f'--resume={undisturbed}').stdout
    assert 'nothing to do: the run is complete at --kimg=1; to train longer: python train.py --resume=' in said
    assert 'done' not in said
    assert (last_state(undisturbed), losses(undisturbed)) == before


def test_the_last_states_are_kept_and_every_snapshot(undisturbed):
    assert len(list((undisturbed / 'state').iterdir())) == 2
    snapshots = sorted(path.name for path in undisturbed.glob('network-snapshot-*.safetensors'))
    assert snapshots[0] == 'network-snapshot-000000_040.safetensors'
    assert snapshots[-1] == 'network-snapshot-000001.safetensors'
    record = json.loads((undisturbed / 'config.json').read_text())
    assert record['config']['generator']['kind'] == 'squeeze'
    assert record['plugin']['module'] == 'extensions.squeeze'
