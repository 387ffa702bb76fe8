"""Progress: one line with the expected time, a bar on a terminal, and a line now and then elsewhere."""

import io

import pytest

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


def passes(progress, clock, num_parts=8, seconds=4.0):
    progress('generated images', 0, num_parts * 64)
    for part in range(1, num_parts + 1):
        clock[0] += seconds
        progress('generated images', part * 64, num_parts * 64)


def test_a_long_pass_is_announced_with_its_time_and_reported_now_and_then(clock):
    said = []
    passes(Progress(said.append, io.StringIO()), clock)
    assert said[0] == 'generated images: 512 images, about 32s'
    assert said[1:] == ['generated images: 192 of 512, 20s left', 'generated images: 384 of 512, 8s left']


def test_a_short_pass_is_not_announced(clock):
    said = []
    passes(Progress(said.append, io.StringIO()), clock, seconds=0.1)
    assert said == []


def test_a_terminal_gets_a_bar_that_is_removed_at_the_end(clock):
    said, terminal = [], Terminal()
    passes(Progress(said.append, terminal), clock)
    assert said == ['generated images: 512 images, about 32s']
    frames = terminal.getvalue().split('\r\x1b[K')
    assert frames[1] == 'generated images [###.....................] 64 of 512, 28s left'
    assert frames[-1] == ''


def test_training_announces_each_source_once(clock):
    said = []
    progress = Progress(said.append, io.StringIO(), first_only=True)
    for _ in range(3):
        passes(progress, clock)
    assert said == ['generated images: 512 images, about 32s']


def test_a_terminal_that_is_gone_ends_nothing(clock):
    class Gone(Terminal):
        def write(self, text):
            raise OSError('gone')

    passes(Progress(lambda text: None, Gone()), clock)
