"""R8: a decoding worker that is killed is noticed at once, and the images come in the same order as ever."""

import os
import signal
import time

import pytest

from tests.reliability.supervisor import fingerprint

pytestmark = pytest.mark.slow


def test_a_killed_worker_is_replaced_and_costs_no_bit(run, undisturbed):
    """Noticed within ten seconds; another goes on with the image that was due, in the same sitting."""
    struck = run('--workers=2')
    sitting = struck.sit()
    assert sitting.watch(lambda: struck.num_lines() >= 2)
    victim = sitting.workers()[0]
    os.kill(victim.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    sitting.watch(lambda: 'Another takes its place' in sitting.said(), patience_s=10)
    assert time.monotonic() - killed_at <= 10
    assert sitting.wait() == 0, sitting.said()
    assert f'data worker {victim.pid} was killed by SIGKILL' in sitting.said()
    assert fingerprint(struck.folder) == fingerprint(undisturbed)
