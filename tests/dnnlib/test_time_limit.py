"""Promises of stopping: in time (--for), on a signal during a save, and at once on the second signal."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from dnnlib import files
from dnnlib.errors import ConfigError
from dnnlib.signals import StopSignal
from dnnlib.time_limit import TimeLimit, parse_duration
from tests.conftest import ROOT
from tests.support.forks import environment
from tests.support.runs import TINY, call, last_state, losses, make_zip, only_run
from torch_utils import checkpoint


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def make_limit(seconds, used=0.0):
    clock = Clock()
    return clock, TimeLimit(seconds, used, clock)


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [('2h', 7200), ('90m', 5400), ('5400s', 5400), ('1d', 86400), ('1h30m', 5400), ('1.5h', 5400), ('0.5s', 0.5)],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert parse_duration(text, '--for') == seconds


@pytest.mark.parametrize('text', ['', '2', 'h', '2 h', '2h30', '-1h', '2w', 'two hours', '0s'])
def test_what_is_no_duration_is_refused_by_name(text):
    with pytest.raises(ConfigError, match=f'^--for={text}: '):
        parse_duration(text, '--for')


def test_time_is_kept_back_for_the_longest_step_and_the_longest_save():
    clock, limit = make_limit(100, used=10)  # ends at 1090
    limit.saved(5)
    limit.saved(3)
    for now in (1040, 1042, 1052, 1053):  # the first call is late: building is not a step
        clock.now = now
        assert not limit.reached()
    clock.now = 1090 - 1.1 * (10 + 5) - 0.1
    limit_before = limit.reached()  # this step is the longest
    assert limit_before
    clock, limit = make_limit(100)
    clock.now = 1098
    assert not limit.reached()
    clock.now = 1099.1
    assert limit.reached()


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


@pytest.mark.slow
def test_a_run_stops_in_time_says_how_to_go_on_and_loses_no_bit(tmp_path):
    flags = (
        f'--data={make_zip(tmp_path / "tiny.zip")}',
        '--kimg=1',
        *TINY,
        '--resolution=8',
        '--batch=32',
        '--batch-gpu=32',
    )
    call(tmp_path / 'whole', *flags)
    done = call(tmp_path / 'runs', *flags, '--for=0.01s', check=False)
    folder = only_run(tmp_path / 'runs')
    assert done.returncode == 75, done.stderr
    assert '--for=0s is over; the newest state is of 0.03 kimg' in done.stdout
    assert f'continue: python train.py --resume={folder}' in done.stdout
    call(tmp_path / 'runs', f'--resume={folder}', '--for=1h')  # ample time: exit code 0
    assert last_state(folder) == last_state(only_run(tmp_path / 'whole'))
    assert losses(folder) == losses(only_run(tmp_path / 'whole'))
    refused = call(tmp_path / 'no', *flags, '--for=2', check=False)
    assert refused.returncode == 2
    assert '--for=2: expected a duration such as 2h' in refused.stderr


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
