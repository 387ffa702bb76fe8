"""Sending of a run to a logger: order, segments, failures, the position, and the end of following."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dnnlib.errors import ConfigError
from dnnlib.folders import locked
from dnnlib.records import read_record
from ganfoundry.loggers import send
from ganfoundry.loggers.send import LoggerError, LogOptions, run_log
from tests.support.run_records import METRIC, Recorder, add_snapshot, add_tick, make_folder
from training.run.run_folder import RunFolder

LOGGER = 'tests.support.run_records:Recorder'
POSITION = 'log-tests.support.run_records.Recorder.json'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of two ticks and one snapshot, which has been trained to its end; nothing is recorded yet."""
    monkeypatch.setattr(Recorder, 'calls', [])
    monkeypatch.setattr(send, 'POLL_S', 0.01)
    folder = make_folder(tmp_path / '00000-run')
    add_tick(folder, 400)
    add_tick(folder, 1000)
    add_snapshot(folder, 1000)
    return folder


def sent(folder: RunFolder, **options: Any) -> list[tuple[Any, ...]]:
    """Sends what is new, and returns the calls of the logger."""
    Recorder.calls = []
    run_log(LogOptions(**{'run': str(folder.path), 'to': LOGGER, **options}))
    return Recorder.calls


def test_a_finished_run_is_sent_once(folder, capsys):
    assert sent(folder) == [
        ('start', 'a1b2', 1),
        ('image', 'fakes', 0),
        ('image', 'reals', 0),
        ('scalars', {'Loss/G/loss': 0.5}, 400),
        ('scalars', {'Loss/G/loss': 0.5}, 1000),
        ('scalars', {f'Metrics/{METRIC}': 100.0}, 1000),
        ('image', 'fakes', 1000),
        ('finish', 'finished'),
    ]
    assert '3 lines and 3 sheets of' in capsys.readouterr().out
    assert sent(folder) == []
    assert f'nothing new in {folder.path}' in capsys.readouterr().out
    (folder.path / POSITION).unlink()  # the message advises it
    assert len(sent(folder)) == 8


def test_a_run_that_was_stopped_is_continued(folder):
    folder.stats.write_text(folder.stats.read_text().splitlines(keepends=True)[0])
    calls = sent(folder)
    assert calls[-1] == ('finish', 'stopped')
    add_tick(folder, 1000)
    assert sent(folder) == [('start', 'a1b2', 1), ('scalars', {'Loss/G/loss': 0.5}, 1000), ('image', 'fakes', 1000),
                            ('finish', 'finished')]  # fmt: skip


def test_a_rewind_begins_a_run_of_its_own_name(folder):
    sent(folder)
    folder.rewind(500)
    add_tick(folder, 1000, loss=0.25)
    assert sent(folder) == [('start', 'a1b2-2', 2), ('scalars', {'Loss/G/loss': 0.25}, 1000), ('finish', 'finished')]


def test_a_rewind_while_following_ends_the_segment(folder, monkeypatch):
    steps = iter([lambda: folder.rewind(500), lambda: add_tick(folder, 1000, loss=0.25)])
    monkeypatch.setattr(send.time, 'sleep', lambda seconds: next(steps, lambda: None)())
    monkeypatch.setattr(send, '_is_trained', lambda path: next(alive))
    alive = iter([True] * 5 + [False] * 5)
    calls = sent(folder, follow=True)
    assert calls[-4:] == [('finish', 'rewound'), ('start', 'a1b2-2', 2), ('scalars', {'Loss/G/loss': 0.25}, 1000),
                          ('finish', 'finished')]  # fmt: skip


def test_following_ends_with_the_process_that_trains(folder):
    (folder.path / '.lock').write_text(f'pid {os.getpid()} on {socket.gethostname()}')
    thread = threading.Thread(target=lambda: sent(folder, follow=True))
    thread.start()
    add_snapshot(folder, 400)
    while ('image', 'fakes', 400) not in Recorder.calls:
        time.sleep(0.01)
    assert ('finish', 'finished') not in Recorder.calls
    (folder.path / '.lock').write_text(f'pid {2**30} on {socket.gethostname()}')
    thread.join()
    assert Recorder.calls[-1] == ('finish', 'finished')


@pytest.mark.parametrize('method', ['start', 'scalars', 'image', 'finish'])
def test_what_a_failed_call_has_not_sent_is_sent_next_time(folder, monkeypatch, capsys, method):
    complete = sent(folder)
    (folder.path / POSITION).unlink()

    def fail(self: Recorder, *args: Any) -> None:
        raise ConnectionError('the server\nis gone')

    with monkeypatch.context() as broken:
        broken.setattr(Recorder, method, fail)
        with pytest.raises(LoggerError, match='ConnectionError: the server is gone; the same command sends the rest'):
            sent(folder)
    assert 'in fail' in capsys.readouterr().err  # the traceback of the user's class
    calls = [call for call in [*Recorder.calls, *sent(folder)] if call[0] in ('scalars', 'image')]
    assert calls == complete[1:-1]


def test_a_logger_that_ends_the_process_is_an_error(folder, monkeypatch):
    monkeypatch.setattr(Recorder, 'start', lambda self, record: exit(0))
    with pytest.raises(LoggerError, match='SystemExit: 0'):
        sent(folder)


def test_two_processes_do_not_send_at_once(folder):
    with locked(folder.path / f'.{POSITION.removesuffix(".json")}.lock') as held:
        assert held
        with pytest.raises(ConfigError, match='another process sends this run'):
            sent(folder)
    assert sent(folder) != []


def test_a_renamed_folder_is_followed(folder, tmp_path, monkeypatch):
    def rename(seconds: float) -> None:
        if folder.path.exists():
            folder.path.rename(tmp_path / 'renamed')
            add_tick(RunFolder(tmp_path / 'renamed'), 2000)

    monkeypatch.setattr(send.time, 'sleep', rename)
    monkeypatch.setattr(send, '_is_trained', lambda path: path.name != 'renamed')
    assert ('scalars', {'Loss/G/loss': 0.5}, 2000) in sent(folder, follow=True)
    assert read_record(tmp_path / 'renamed' / POSITION).text('state') == 'finished'


@pytest.mark.parametrize(
    ('prepare', 'message'),
    [
        (lambda folder: folder.config.unlink(), 'is no run folder; name one that train.py has made, or latest'),
        (lambda folder: folder.config.write_text('{'), 'config.json'),
        (lambda folder: (folder.path / POSITION).write_text('{}'), 'remove the file to send the whole run again'),
        (lambda folder: (folder.path / POSITION).mkdir(), 'a folder; expected a file'),
    ],
)
def test_a_folder_that_cannot_be_sent_is_named(folder, prepare, message):
    prepare(folder)
    with pytest.raises(ValueError, match=message) as error:
        sent(folder)
    assert str(folder.path) in str(error.value)
    assert Recorder.calls == []


def test_a_run_of_an_earlier_version_has_its_name_as_id(folder):
    folder.config.write_text('{"config": {"cfg": "auto"}, "facts": {}}')
    calls = sent(folder)
    assert calls[0] == ('start', '00000-run', 1)
    assert calls[-1] == ('finish', 'stopped')  # the length of the run is not known
