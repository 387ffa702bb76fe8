"""R2: a signal at any moment saves within a step and ten seconds, names the way to continue, and costs no bit."""

import json
import os
import signal
import time

import pytest

from tests.reliability.supervisor import fingerprint
from tests.support.patience import stretched
from torch_utils.checkpoint import list_states
from training.run.run_folder import RunFolder

pytestmark = pytest.mark.slow

STEP = 96  # images


@pytest.mark.parametrize('moment', [('phase', 6), ('flush', 9), ('snapshot', 2), ('metric', 1)], ids=lambda m: m[0])
def test_sigterm_in_training_in_a_save_in_a_snapshot_in_a_metric(run, undisturbed, in_peace, moment):
    """In a step; between the files of a training state; in the network file; among the images of a metric."""
    flags = ('--metrics=kid_efflite8', '--snap=3') if moment[0] == 'metric' else ()
    expected = in_peace('measured', (*run().flags[1:], *flags)) if flags else undisturbed
    struck = run(*flags, '--workers=2', plan=[(*moment, 'SIGTERM')])
    launch = struck.launch()
    assert launch.wait() == 143, launch.said()
    (reached,) = struck.reached()
    assert time.time() - reached['time'] <= stretched(10)
    states = list_states(struck.folder / 'state')
    assert states, 'nothing was saved'
    if reached['nimg'] is not None:
        assert 0 <= int(states[-1].name) - reached['nimg'] <= STEP
    assert f'continue: python train.py --resume={struck.folder}' in launch.said()
    assert struck.finish() == [0]
    assert fingerprint(struck.folder) == fingerprint(expected)


def test_the_whole_group_is_signalled_and_workers_hold_on(run, undisturbed):
    """A terminal and a batch system signal the group: the workers keep decoding until the run has saved."""
    struck = run('--workers=2')
    launch = struck.launch()
    assert launch.watch(lambda: struck.num_lines() >= 2)
    workers = launch.workers()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid, signal.SIGTERM)
    before = struck.num_lines()
    assert launch.watch(lambda: struck.num_lines() > before)
    assert [worker.pid for worker in launch.workers()] == [worker.pid for worker in workers]
    launch.kill(signal.SIGINT, group=True)
    assert launch.wait() == 130
    assert 'Traceback' not in launch.said()
    assert not any(worker.is_running() for worker in workers)
    assert struck.finish() == [0]
    assert fingerprint(struck.folder) == fingerprint(undisturbed)


def test_a_second_signal_leaves_at_once(run, undisturbed):
    """Without saving; what was saved before is whole."""
    struck = run(plan=[('phase', 8, 'SIGTERM twice')])
    launch = struck.launch()
    assert launch.wait() == 143, launch.said()
    assert 'stopped and saved' not in launch.said()
    assert json.loads(struck.plan.read_text()) == []
    assert struck.finish() == [0]
    assert fingerprint(struck.folder) == fingerprint(undisturbed)


def test_a_rank_is_signalled_among_its_share_of_a_metric(run, in_peace):
    """Both stop; when they continue, they measure what one process measures."""
    flags = ('--deterministic=1', '--metrics=kid_efflite66', '--snap=3')
    alone = in_peace('measured in shares', (*run().flags[1:], *flags))
    struck = run(*flags, '--gpus=2', plan=[('metric', 1, 'SIGTERM@1')])
    assert struck.launch().wait() == 143
    (reached,) = struck.reached()
    assert time.time() - reached['time'] <= stretched(10)
    assert struck.finish() == [0]
    assert fingerprint(struck.folder) == fingerprint(alone)
    lines = [RunFolder(folder).results('kid_efflite66') for folder in (struck.folder, alone)]
    assert [line['num_gpus'] for line in lines[0]] == [2] * len(lines[1])
    assert [line['results'] for line in lines[0]] == [line['results'] for line in lines[1]]
