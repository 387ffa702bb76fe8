"""Progress on the terminal, and nothing elsewhere."""

import io
import sys

from tests.support.pictures import fill, noise, run
from training.data.progress import progress


def test_a_pipe_receives_no_line_from_any_command(tmp_path):
    folder = fill(tmp_path / 'set', {f'{i}.png': noise(i) for i in range(3)})
    for arguments in (['--source', folder, '--dest', tmp_path / 'a.zip'], ['verify', tmp_path / 'a.zip']):
        result = run(*arguments)
        assert result.stderr == ''
        assert '' not in result.stdout.splitlines()


def test_a_terminal_receives_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, 'stderr', Terminal())
    with progress('pictures') as advance:
        for _ in range(3):
            advance(3)
    assert '100%' in sys.stderr.getvalue()
    assert '3/3' in sys.stderr.getvalue()


def test_another_stream_receives_nothing(capsys):
    with progress('pictures') as advance:
        advance(1)
    assert capsys.readouterr() == ('', '')
