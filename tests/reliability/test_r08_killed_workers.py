"""R8: a decoding worker that is killed is noticed at once, and the images come in the same order as ever."""

import os
import signal
import time

from tests.reliability.supervisor import fingerprint


def test_a_killed_worker_costs_no_bit(run, undisturbed):
    """Noticed within ten seconds; the sitting, or the next one, goes on with the image that was due."""
    struck = run('--workers=2')
    sitting = struck.sit()
    assert sitting.watch(lambda: struck.num_lines() >= 2)
    victim = sitting.workers()[0]
    os.kill(victim.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    if sitting.watch(lambda: 'was killed by SIGKILL' in sitting.said(), patience_s=10):
        sitting.wait()
    assert time.monotonic() - killed_at <= 10 or sitting.code == 0
    assert f'data worker {victim.pid} was killed by SIGKILL' in sitting.said()
    if sitting.code != 0:
        assert f'--resume={struck.folder}' in sitting.said()
        assert struck.finish() == [0]
    assert fingerprint(struck.folder) == fingerprint(undisturbed)
