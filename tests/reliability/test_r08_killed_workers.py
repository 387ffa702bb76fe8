"""R8: a decoding worker that is killed is noticed at once, and the images come in the same order as ever."""

import os
import signal
import time

import pytest

from tests.reliability.supervisor import fingerprint
from tests.support.patience import stretched

pytestmark = pytest.mark.slow


def test_a_killed_worker_is_replaced_and_costs_no_bit(run, undisturbed):
    """Its death is noticed within ten seconds; another continues with the image that was due, in the same launch."""
    struck = run('--workers=2')
    launch = struck.launch()
    assert launch.watch(lambda: struck.num_lines() >= 2)
    victim = launch.workers()[0]
    os.kill(victim.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    launch.watch(lambda: 'Another takes its place' in launch.said(), patience_s=stretched(10))
    assert time.monotonic() - killed_at <= stretched(10)
    assert launch.wait() == 0, launch.said()
    assert f'data worker {victim.pid} was killed by SIGKILL' in launch.said()
    assert fingerprint(struck.folder) == fingerprint(undisturbed)
