"""Progress: one line with the expected time, a bar on a terminal, and a line now and then elsewhere."""

import io
import sys

import pytest

from dnnlib.log import Log
from ganfoundry import progress as module
from ganfoundry.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(module.time, 'monotonic', lambda: now[0])
    return now


class Lines(Log):
    """A log that keeps its lines."""

    def __init__(self):
        super().__init__(stream=io.StringIO())

    @property
    def said(self):
        return self._stream.getvalue().splitlines()


def passes(progress, clock, num_parts=8, seconds=4.0):
    progress('generated images', 0, num_parts * 64)
    for part in range(1, num_parts + 1):
        clock[0] += seconds
        progress('generated images', part * 64, num_parts * 64)


def test_a_long_pass_is_announced_with_its_time_and_reported_now_and_then(clock):
    log = Lines()
    passes(Progress(log), clock)
    assert log.said[0] == 'generated images: 512 images, about 32s'
    assert log.said[1:] == ['generated images: 192 of 512, 20s left', 'generated images: 384 of 512, 8s left']


def test_a_short_pass_is_not_announced(clock):
    log = Lines()
    passes(Progress(log), clock, seconds=0.1)
    assert log.said == []


def test_a_terminal_gets_a_bar_that_is_removed_at_the_end(clock, monkeypatch):
    log, terminal = Lines(), Terminal()
    monkeypatch.setattr(sys, 'stderr', terminal)
    passes(Progress(log), clock)
    assert log.said == ['generated images: 512 images, about 32s']
    frames = terminal.getvalue().split('\r\x1b[K')
    assert frames[1] == 'generated images [###.....................] 64 of 512, 28s left'
    assert frames[-1] == ''


def test_training_announces_each_source_once(clock):
    log = Lines()
    progress = Progress(log, first_only=True)
    for _ in range(3):
        passes(progress, clock)
    assert log.said == ['generated images: 512 images, about 32s']


def test_a_terminal_that_is_gone_ends_nothing(clock, monkeypatch):
    class Gone(Terminal):
        def write(self, text):
            raise OSError('gone')

    monkeypatch.setattr(sys, 'stderr', Gone())
    passes(Progress(Lines()), clock)


def test_a_warning_in_a_measurement_does_not_follow_the_bar_on_its_line(clock, monkeypatch):
    log, terminal = Lines(), Terminal()
    monkeypatch.setattr(sys, 'stderr', terminal)
    progress = Progress(log)
    progress('generated images', 0, 64)
    clock[0] += 1.0
    progress('generated images', 8, 64)
    log.warn('odd')
    assert terminal.getvalue().endswith('left\r\x1b[K')
