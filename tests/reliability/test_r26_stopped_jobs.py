"""R26: a job that was stopped (Ctrl-Z, SIGSTOP) longer than --timeout trains further when it is continued.

Of several processes: tests/torch_utils/test_watchdog.py, tests/torch_utils/test_launch.py.
"""

import signal
import time

import pytest

from tests.reliability.supervisor import fingerprint

pytestmark = pytest.mark.slow


def test_a_stopped_job_is_not_a_hung_one(run, undisturbed):
    struck = run('--timeout=6', '--workers=1')
    launch = struck.launch()
    assert launch.watch(lambda: struck.num_lines() >= 2)
    launch.kill(signal.SIGSTOP, group=True)
    time.sleep(8)
    launch.kill(signal.SIGCONT, group=True)
    assert launch.wait() == 0, launch.said()
    assert 'no progress' not in launch.said()
    assert fingerprint(struck.folder) == fingerprint(undisturbed)
