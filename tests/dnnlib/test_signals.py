"""Tests of stopping: the first signal requests it, a save is finished, and the second signal exits at once."""

import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from dnnlib import files
from dnnlib.signals import StopSignal
from tests.conftest import ROOT
from tests.dnnlib.test_time_limit import make_limit
from tests.support.forks import environment
from torch_utils import checkpoint


@pytest.mark.slow
def test_the_first_signal_asks_and_the_second_leaves():
    code = (
        'import os, signal, time\nfrom dnnlib.signals import StopSignal\n'
        'with StopSignal() as stop:\n'
        '    os.kill(os.getpid(), signal.SIGTERM)\n'
        '    assert stop.requested() and stop.exit_code == 143\n'
        '    os.kill(os.getpid(), signal.SIGINT)\n'
        '    time.sleep(5)\n'
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == 128 + signal.SIGINT


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_request_is_recorded_and_leaves_the_handlers_as_they_were(number):
    before = signal.getsignal(number)
    with StopSignal() as stop:
        os.kill(os.getpid(), number)
        assert stop.exit_code == 128 + number
    assert signal.getsignal(number) is before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGHUP])
def test_an_ignored_signal_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), number)
            assert not stop.requested()
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(('first', 'second'), [('SIGHUP', 'SIGHUP'), ('SIGHUP', 'SIGTERM'), ('SIGTERM', 'SIGHUP')])
def test_a_session_that_ends_with_two_signals_lets_the_run_save(first, second):
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.Signals[first])
        os.kill(os.getpid(), signal.Signals[second])
        assert stop.exit_code == 128 + signal.Signals[first]


def test_a_handler_does_not_raise_where_nobody_reads_stderr():
    read, write = os.pipe()
    stderr = os.dup(2)
    os.dup2(write, 2)
    os.close(write)
    os.close(read)
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    assert stop.exit_code == 143


def test_another_thread_has_the_time_limit_only():
    clock, limit = make_limit(100)

    def ask():
        with StopSignal(limit) as stop:
            clock.now = 2000
            return stop.requested()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask).result()


def test_exit_codes_tell_why_a_run_stopped():
    clock, limit = make_limit(100)
    with StopSignal(limit) as stop:
        assert not stop.requested()
        assert stop.exit_code == 0
        clock.now = 2000
        assert stop.requested()
        clock.now = 1000
        assert stop.requested()
        assert stop.exit_code == 75
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.exit_code == 143


def test_a_signal_during_a_save_lets_it_finish(tmp_path, monkeypatch):
    write = files.write_json

    def interrupted(path, data):
        os.kill(os.getpid(), signal.SIGTERM)
        write(path, data)

    with StopSignal() as stop:
        monkeypatch.setattr(files, 'write_json', lambda path, data: (monkeypatch.undo(), interrupted(path, data)))
        folder = checkpoint.save_state(tmp_path, '000000001', {'a': torch.ones(3)}, {'nimg': 1})
        assert stop.requested()
    checkpoint.verify_state(folder)


@pytest.mark.slow
def test_a_second_signal_during_a_save_leaves_at_once_and_the_older_state_whole(tmp_path):
    code = f"""
        import os, signal, time, torch
        from pathlib import Path
        from dnnlib import files
        from dnnlib.signals import StopSignal
        from torch_utils import checkpoint
        root = Path({str(tmp_path)!r})
        with StopSignal():
            checkpoint.save_state(root, '000000001', {{'a': torch.ones(3)}}, {{'nimg': 1}})
            def twice(path, data):
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)
            files.write_json = twice
            checkpoint.save_state(root, '000000002', {{'a': torch.ones(3)}}, {{'nimg': 2}})
    """
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT, env=environment(),
                          capture_output=True, text=True, timeout=50)  # fmt: skip
    assert done.returncode == 143, done.stderr
    assert checkpoint.newest_state(tmp_path, pytest.fail).name == '000000001'
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['000000001']
