"""R23: a request to stop saves, whatever has become of stdout, stderr and the terminal.

Signals that are ignored at the start, as under nohup: tests/dnnlib/test_signals.py, tests/torch_utils/test_launch.py.
"""

import os
import signal
import time

import pytest

from tests.reliability.supervisor import fingerprint
from tests.support.patience import stretched
from torch_utils.checkpoint import list_states

pytestmark = pytest.mark.slow


def launch_unheard(struck):
    """Launches a run whose stdout and stderr are one pipe, which its reader closes after the first bytes."""
    pipe = struck.where / 'output0.txt'
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    launch = struck.launch()
    deadline = time.monotonic() + stretched(60)
    while not heard(reader):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.close(reader)
    pipe.unlink()
    return launch


def heard(reader):
    try:
        return os.read(reader, 1)
    except BlockingIOError:
        return b''


def test_a_run_whose_output_nobody_reads_saves_on_a_signal(run, undisturbed):
    struck = run('--workers=1', plan=[('phase', 9, 'SIGTERM')])
    assert launch_unheard(struck).wait() == 128 + signal.SIGTERM
    (reached,) = struck.reached()
    assert int(list_states(struck.folder / 'state')[-1].name) >= reached['nimg']
    assert struck.finish() == [0]
    assert fingerprint(struck.folder) == fingerprint(undisturbed)


def test_a_closed_terminal_stops_several_processes_with_a_saved_state(run, undisturbed_by_two):
    """The kernel signals the foreground group, which is the launcher."""
    struck = run('--deterministic=1', '--gpus=2')
    launch = launch_unheard(struck)
    launch.watch(lambda: struck.num_lines() >= 2)
    launch.kill(signal.SIGHUP, group=True)
    launch.kill(signal.SIGHUP, group=True)  # the shell does it again
    assert launch.wait() == 128 + signal.SIGHUP
    assert not list(struck.folder.rglob('*.tmp-*'))
    assert struck.launch(f'--resume={struck.folder}', '--gpus=1').wait() == 0
    assert fingerprint(struck.folder) == fingerprint(undisturbed_by_two)
