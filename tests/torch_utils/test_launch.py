"""Tests of the launcher with processes that do not train; tests/commands/test_distributed_run.py starts whole runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.forks import environment, is_running
from tests.support.patience import stretched
from torch_utils.launch import began, launch, leave
from torch_utils.launched import BEGAN, EXIT_FILE, LAUNCHER
from torch_utils.watchdog import KILL_S

IN_ORDER = "open(os.environ['GANFOUNDRY_EXIT_FILE'], 'w').write('75')"


def run(code, restarts=0, size=2):
    """Launches processes of the code, in which `rank` is defined, and returns the exit code of the launcher."""
    return launch(size, restarts, ['-c', f"import os, signal, sys, time; rank = int(os.environ['RANK'])\n{code}"])


def test_under_the_launcher_a_run_that_ended_in_good_order_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.delenv(LAUNCHER, raising=False)
    monkeypatch.setenv(EXIT_FILE, str(tmp_path / 'code'))
    assert leave(143, 0) == 143
    monkeypatch.setenv(LAUNCHER, str(os.getppid()))
    assert leave(143, 1) == 0
    assert not os.path.exists(tmp_path / 'code')
    assert leave(143, 0) == 0
    assert (tmp_path / 'code').read_text() == '143'


def test_a_start_that_no_launcher_has_noted_is_not_read(monkeypatch):
    monkeypatch.setenv(BEGAN, 'abc')
    assert 0 < began() <= time.time()


@pytest.mark.slow
def test_the_run_decides_its_exit_code():
    assert run(f'if rank == 0: {IN_ORDER}') == 75


@pytest.mark.slow
def test_a_killed_process_is_named_and_those_that_do_not_end_are_killed(capfd):
    began_at = time.monotonic()
    hang = 'signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)'
    assert run(f'{hang} if rank == 0 else os.kill(os.getpid(), signal.SIGKILL)') == 137
    assert time.monotonic() - began_at < stretched(KILL_S + 3)
    assert 'Error: rank 1 was killed by SIGKILL, and no restart was left of 0' in capfd.readouterr().err


@pytest.mark.slow
def test_a_lost_group_is_restarted_with_its_number_of_attempts(capfd):
    lost = "if os.environ['TORCHELASTIC_RESTART_COUNT'] == '0': sys.exit(3)"
    assert run(f'{lost}\nif rank == 0: {IN_ORDER}', restarts=2) == 75
    assert 'ended with exit code 3; restart 1 of 2 of all processes' in capfd.readouterr().err


@pytest.mark.slow
def test_a_mistake_of_the_user_is_not_repeated(capfd):
    assert run('sys.exit(2)', restarts=5) == 2
    assert capfd.readouterr().err == ''


@pytest.fixture
def launcher(tmp_path):
    """A launcher in a process of its own: its processes write `rank SIGNAL` on each request, and end on SIGTERM."""
    loud = (
        "import os, signal, sys, time; rank = os.environ['RANK']\n"
        "say = lambda text: open(f'said{rank}', 'a').write(text + '\\n')\n"
        "for name in ('SIGHUP', 'SIGINT', 'SIGCONT'):\n"
        '    if signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:\n'
        '        signal.signal(getattr(signal, name), lambda number, frame, name=name: say(name))\n'
        'say(str(os.getpid()))\n'
        'while True: time.sleep(0.05)\n'
    )
    started = []

    def start(*before):
        code = f'from torch_utils.launch import launch\nraise SystemExit(launch(2, 0, ["-c", {loud!r}]))'
        command = [*before, sys.executable, '-c', code]
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment(), start_new_session=True))
        wait_until(lambda: all(said(tmp_path, rank) for rank in (0, 1)))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    for rank in (0, 1):
        if said(tmp_path, rank) and is_running(pid := int(said(tmp_path, rank)[0])):
            os.kill(pid, signal.SIGKILL)


def said(folder, rank):
    path = Path(folder) / f'said{rank}'
    return path.read_text().split() if path.exists() else []


def wait_until(seen):
    deadline = time.monotonic() + stretched(30)
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_requests_reach_each_process_once_and_decide_the_exit_code(launcher, tmp_path):
    process = launcher()
    os.killpg(process.pid, signal.SIGHUP)  # a terminal signals its whole foreground group
    wait_until(lambda: all(len(said(tmp_path, rank)) > 1 for rank in (0, 1)))
    process.send_signal(signal.SIGTERM)
    assert process.wait(stretched(30)) == 128 + signal.SIGHUP  # the first request
    assert [said(tmp_path, rank)[1:] for rank in (0, 1)] == [['SIGHUP'], ['SIGHUP']]


@pytest.mark.slow
def test_a_request_that_is_ignored_stays_ignored(launcher, tmp_path):
    process = launcher('nohup')
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(stretched(30)) == 128 + signal.SIGTERM
    assert [len(said(tmp_path, rank)) for rank in (0, 1)] == [1, 1]


@pytest.mark.slow
def test_ctrl_z_stops_all_processes_and_a_continued_job_continues_them(launcher, tmp_path):
    process = launcher()
    status = [Path(f'/proc/{pid}/status') for pid in (process.pid, *[said(tmp_path, rank)[0] for rank in (0, 1)])]
    process.send_signal(signal.SIGTSTP)
    wait_until(lambda: all('T (stopped)' in path.read_text() for path in status))
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: all('T (stopped)' not in path.read_text() for path in status))
    assert process.poll() is None
