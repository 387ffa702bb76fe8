"""R25: a launcher that is killed takes its processes along; they save, free the folder, and a resume loses nothing."""

import signal
import time

import pytest

from tests.reliability.supervisor import fingerprint
from tests.support.forks import is_running
from tests.support.patience import stretched
from torch_utils.checkpoint import list_states

pytestmark = pytest.mark.slow


def test_the_processes_of_a_killed_launcher_save_and_end_within_15_seconds(run, undisturbed_by_two):
    flags = ('--deterministic=1', '--gpus=2', '--workers=1', '--set=save_every_s=1000', '--snap=100')
    # Without the pause, the rest of the run takes a second on a quiet machine and ends before the watchdog polls.
    struck = run(*flags, plan=[('phase', 10, 'pause@1')])
    launch = struck.launch()
    launch.watch(lambda: struck.num_lines() >= 2)
    family = [process.pid for process in launch.workers()]
    assert len(family) == 4  # two processes that train, and a worker of each
    launch.kill(signal.SIGKILL)
    deadline = time.monotonic() + stretched(15)
    while any(map(is_running, family)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert launch.wait() == -signal.SIGKILL
    assert ' of 2: the launcher is gone; stopping' in launch.said()  # whichever notices it first
    assert int(list_states(struck.folder / 'state')[-1].name) > 96  # not the one after the first step
    assert struck.launch(f'--resume={struck.folder}', '--gpus=1').wait() == 0
    ours, theirs = fingerprint(struck.folder), fingerprint(undisturbed_by_two)
    for found in (ours, theirs):
        del found[1]['guardian']['highest']  # a maximum over snapshots, and this run has fewer snapshots
    assert ours == theirs
