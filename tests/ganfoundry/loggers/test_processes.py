"""Processes that send a run while it trains: they fail without harm, and end with training, whatever ends it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ganfoundry.loggers.child import TRAINER
from ganfoundry.loggers.processes import LogProcesses
from tests.conftest import ROOT
from tests.support.fake_loggers import kept
from tests.support.forks import shared_zygote
from tests.support.patience import stretched
from tests.support.run_records import add_tick, make_folder
from training.run.run_folder import RunFolder

pytestmark = pytest.mark.slow

FAKES = 'tests.support.fake_loggers'
NIMG = [200, 400]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = make_folder(tmp_path / '00000-run')
    for nimg in NIMG:
        add_tick(folder, nimg)
    return folder


def wait_for(seen: Callable[[], object], what: str) -> None:
    """Waits until `seen`; fails after a minute of a quiet machine."""
    deadline = time.monotonic() + stretched(60)
    while not seen():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def senders(folder: Path) -> list[psutil.Process]:
    """Returns the processes that send a run."""
    found = []
    for process in psutil.process_iter(['cmdline']):
        words = process.info['cmdline'] or []
        if str(folder) in words and '--follow' in words and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def test_a_logger_that_raises_dies_or_hangs_is_one_warning(folder):
    warnings: list[str] = []
    with LogProcesses([f'{FAKES}:{name}' for name in ('Raises', 'Dies', 'Hangs')], folder.path, warnings.append):
        wait_for(lambda: len(warnings) == 3, 'no warning')
    reasons = {'Raises': r'has ended with exit code 2 \(--to=\S+: ConnectionError: no network\)',
               'Dies': 'was killed by signal 9',
               'Hangs': r'has ended with exit code 1 \(--to=\S+: no answer for 1 s\)'}  # fmt: skip
    for name, reason in reasons.items():
        (warning,) = [warning for warning in warnings if f':{name}: ' in warning]
        rest = f'training continues, and `python log_run.py {folder.path} --to={FAKES}:{name}` sends the rest; see log-'
        assert re.match(rf'--log={FAKES}:{name}: the process {reason}; {re.escape(rest)}', warning)
    assert 'in _keep' in (folder.path / f'log-{FAKES}.Hangs.txt').read_text()  # the place of the call
    assert senders(folder.path) == []


def test_the_end_of_training_is_not_delayed_and_the_rest_is_sent(folder):
    warnings: list[str] = []
    with LogProcesses([f'{FAKES}:Keeps'], folder.path, warnings.append) as sending:
        wait_for(lambda: kept(folder.path, 'scalars') == NIMG, 'nothing sent')
        (process,) = senders(folder.path)
        assert os.getsid(process.pid) == process.pid  # signals to the group of training do not reach it
        add_tick(folder, 600)
        sending.state = 'stopped'
        began = time.monotonic()
    assert time.monotonic() - began < stretched(1)
    wait_for(lambda: not senders(folder.path), 'the process is still there')
    assert kept(folder.path, 'scalars') == [*NIMG, 600]
    assert kept(folder.path, 'finish') == ['stopped']
    assert warnings == []


def test_a_sender_whose_trainer_is_gone_already_ends(folder):
    script, to = str(ROOT / 'log_run.py'), f'--to={FAKES}:Keeps'
    env = os.environ | {TRAINER: '1000000000'}
    subprocess.run([sys.executable, script, str(folder.path), to, '--follow'], env=env, check=True, timeout=60)
    assert kept(folder.path, 'scalars') == NIMG
    assert kept(folder.path, 'finish') == ['failed']


def train_until_killed(folder: str) -> None:
    """Takes the place of rank 0, for ever."""
    with LogProcesses([f'{FAKES}:Keeps', f'{FAKES}:Hangs'], Path(folder), print):
        time.sleep(1000)


def test_no_sender_outlives_a_rank_0_whose_group_is_killed(folder, tmp_path):
    call = f'{__name__}:train_until_killed'
    trainer = shared_zygote().start(call, str(folder.path), output=tmp_path / 'output')
    wait_for(lambda: kept(folder.path, 'scalars') == NIMG, 'nothing sent')
    trainer.kill(signal.SIGKILL, group=True)
    wait_for(lambda: not senders(folder.path), 'a process is still there')
    assert kept(folder.path, 'finish') == ['failed']
