"""R10: when a rank hangs, all end within the time-out and 15 seconds, and say which, where and in what."""

import re
import time

import pytest

from tests.support.patience import stretched

pytestmark = pytest.mark.slow

TIMEOUT_S = 6


def test_a_sleeping_rank_ends_the_run_with_rank_operation_step_and_stacks(run):
    struck = run('--gpus=2', f'--timeout={TIMEOUT_S}', plan=[('phase', 9, 'hang@1')])
    launch = struck.launch()
    assert launch.wait() not in (0, 143)
    (reached,) = struck.reached()
    assert time.time() - reached['time'] <= TIMEOUT_S + stretched(15)
    said = launch.said()
    assert re.search(r'rank 1 of 2.*computing, or asleep', said)
    assert re.search(r'rank 0 of 2.*waiting in (all-reduce|all-gather) of', said) or 'another process is gone' in said
    assert re.search(r'step \d+', said)
    assert 'Thread 0x' in said
    assert 'moments.py' in said, "the sleeper's stack"


def test_a_single_process_ends_too_if_a_timeout_is_given(run):
    struck = run(f'--timeout={TIMEOUT_S}', plan=[('phase', 9, 'hang')])
    launch = struck.launch()
    assert launch.wait() == 1
    (reached,) = struck.reached()
    assert time.time() - reached['time'] <= TIMEOUT_S + stretched(15)
    assert re.search(r'rank 0 of 1: no progress for \d+ s \(--timeout=6\) at step \d+.*computing', launch.said())
    assert 'moments.py' in launch.said(), "the sleeper's stack"
