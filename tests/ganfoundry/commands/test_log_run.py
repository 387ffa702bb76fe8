"""Command lines of log_run.py and of train.py --log: what is refused, with one line and exit code 2, and `latest`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dnnlib.command import run_command
from ganfoundry.commands import log_run, train
from tests.support.run_records import Recorder, add_tick, make_folder
from tests.support.runs import make_zip

LOGGER = 'tests.support.run_records:Recorder'


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs, in its parent as the present folder."""
    monkeypatch.setattr(Recorder, 'calls', [])
    for name in ('00000-first', '00001-second'):
        add_tick(make_folder(tmp_path / 'runs' / name), 1000)
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'runs'


def run(monkeypatch: pytest.MonkeyPatch, command: object, *words: str) -> int | str | None:
    """Runs a command as a terminal does, and returns its exit code."""
    monkeypatch.setattr(sys, 'argv', ['command.py', *words])
    try:
        run_command(command.main)
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['nowhere', '--to=tensorboard'], 'nowhere: is no run folder; name one that train.py has made, or latest'),
        (['runs', '--to=tensorboard'], 'runs: is no run folder'),
        (['elsewhere/latest', '--to=tensorboard'], 'there is no run in elsewhere/'),
        (['latest', '--to=wandbb'], "--to: unknown logger 'wandbb': did you mean 'wandb'?"),
        (['latest', '--to=nowhere_at_all:A'], '--to=nowhere_at_all:A: there is no module nowhere_at_all'),
        (['latest', '--to=json:Nothing'], '--to=json:Nothing: module json has no class Nothing'),
        (['latest', f'--to={LOGGER}', '--mode=on'], "Invalid value for '--mode': 'on' is not one of"),
        (['latest'], "Missing option '--to'"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(runs, monkeypatch, capsys, words, message):
    before = sorted(runs.rglob('*'))
    assert run(monkeypatch, log_run, *words) == 2
    error = capsys.readouterr().err.strip()
    assert message in error.splitlines()[-1]
    assert sorted(runs.rglob('*')) == before


def test_a_logger_that_fails_is_one_line_after_its_traceback(runs, monkeypatch, capsys):
    monkeypatch.setattr(Recorder, 'image', lambda *args: 1 / 0)
    assert run(monkeypatch, log_run, 'latest', f'--to={LOGGER}') == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error == (
        f'Error: --to={LOGGER}: ZeroDivisionError: division by zero; the same command sends the rest of '
        f'{runs / "00001-second"}'
    )


def test_latest_is_the_newest_run_and_a_broken_disk_is_one_line(runs, monkeypatch, capsys):
    assert run(monkeypatch, log_run, 'latest', f'--to={LOGGER}') == 0
    assert '1 line and 2 sheets of' in capsys.readouterr().out
    assert (runs / '00001-second' / 'log-tests.support.run_records.Recorder.json').exists()

    def full(*args: object) -> None:
        raise OSError(28, 'No space left on device', 'log.json')

    monkeypatch.setattr('ganfoundry.loggers.send.write_position', full)
    assert run(monkeypatch, log_run, 'runs/00000-first', f'--to={LOGGER}') == 2
    assert 'No space left on device' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['wandbb', 'nowhere_at_all:A'])
def test_training_refuses_a_logger_before_it_makes_a_folder(tmp_path, monkeypatch, capsys, name):
    data = make_zip(tmp_path / 'tiny.zip')
    flags = [f'--data={data}', f'--outdir={tmp_path / "runs"}', '--device=cpu', f'--log={name}']
    assert run(monkeypatch, train, *flags) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('Error: --log')
    assert '\n' not in error
    assert not (tmp_path / 'runs').exists()
