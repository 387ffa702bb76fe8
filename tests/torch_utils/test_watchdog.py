"""Tests of the watchdog; test_distributed.py tests processes that hang together."""

import re
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.support.forks import environment
from torch_utils import launch, watchdog
from torch_utils.watchdog import Watchdog


def test_a_limit_names_the_task_and_returns_the_one_before():
    dog = Watchdog('rank 0 of 1', 1000)
    try:
        assert dog.where == 'the start'
        assert dog.limit(2000, 'metrics') == 1000
        assert dog.where == 'metrics'
        dog.beat('step 3')
        assert dog.where == 'step 3'
        assert dog.limit(1000, 'after metrics') == 2000
    finally:
        dog.end()


def test_the_start_and_the_end_of_an_operation_are_signs_of_life():
    dog = Watchdog('rank 0 of 1', 60)
    for operation in ('all-reduce', ''):
        before = dog._beats
        dog.enter(operation)
        assert dog._beats > before
    dog.end()


def test_the_limits_add_up_to_the_promise():
    """Two looks of the watchdog, its message, SIGTERM and SIGKILL by the launcher, and two looks of the launcher."""
    assert 2 * watchdog.POLL_S + watchdog.PRINT_S + watchdog.KILL_S + 2 * launch.POLL_S <= watchdog.END_S


@pytest.mark.slow
def test_the_time_in_which_a_process_was_stopped_does_not_count():
    code = (
        'import time\nfrom torch_utils.watchdog import Watchdog\n'
        'dog = Watchdog("rank 0 of 2", 1.5)\nprint("ready", flush=True)\ntime.sleep(60)\n'
    )
    args = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    process = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, env=environment(), **args)
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    process.send_signal(signal.SIGCONT)
    time.sleep(0.3)
    assert process.poll() is None
    assert 'no progress for 2 s (--timeout=1.5)' in process.communicate(timeout=50)[1]  # it does hang
    assert process.returncode == 1


@pytest.mark.slow
def test_a_process_whose_stderr_is_blocked_ends_all_the_same():
    code = (
        'import time\nfrom torch_utils.watchdog import Watchdog\ndog = Watchdog("x" * 200_000, 0.3)\ntime.sleep(60)\n'
    )
    process = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, env=environment(), stderr=subprocess.PIPE)
    assert process.wait(50) == -signal.SIGALRM
    process.stderr.close()


@pytest.mark.slow
def test_a_process_without_progress_ends_and_says_where():
    code = (
        'import time\nfrom torch_utils.watchdog import Watchdog\n'
        'dog = Watchdog("rank 1 of 2", 0.3)\ndog.beat("step 7")\ndog.enter("all-reduce of x")\ntime.sleep(60)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 1
    said = r'rank 1 of 2: no progress for \d+ s \(--timeout=0.3\) at step 7, waiting in all-reduce of x'
    assert re.search(said, done.stderr)
    assert 'line 6 in <module>' in done.stderr  # the line that sleeps
