"""Tests of standard streams that nobody reads; tests/reliability/test_r23_ends_of_a_run.py trains with them."""

import io
import subprocess
import sys

import pytest

from dnnlib import streams
from tests.conftest import ROOT
from tests.support.forks import environment

pytestmark = pytest.mark.slow


def shell(line, code):
    """Runs a line of bash in which "$@" is a command of the project that executes `code`. Returns its exit code."""
    imports = 'import sys\nfrom dnnlib.command import run_command\nfrom dnnlib.errors import ConfigError\n'
    main = f'{imports}def main():\n    {code}\nrun_command(main)'
    args = ['bash', '-c', f'{line}; exit "${{PIPESTATUS[0]}}"', 'bash', sys.executable, '-c', main]
    return subprocess.run(
        args, cwd=ROOT, env={**environment(), 'PYTHONUNBUFFERED': ''}, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize('sink', ['2>/dev/full', '2>&-', '2>&1 >/dev/null | true', '</dev/null >&- 2>&-'])
def test_a_stderr_that_takes_nothing_does_not_change_the_exit_code(sink):
    write = 'import time; time.sleep(0.3); print("x" * 100000, file=sys.stderr, flush=True); sys.exit(143)'
    assert shell(f'"$@" {sink}', write).returncode == 143
    assert shell(f'"$@" {sink}', 'import time; time.sleep(0.3); raise ConfigError("--a: no")').returncode == 2


def test_output_that_is_lost_is_an_error():
    done = shell('"$@" >/dev/full', 'print("result")')
    assert done.returncode == 1
    assert done.stderr == 'Error: the output cannot be written: No space left on device\n'
    assert shell('"$@" >/dev/full', 'print("result"); sys.exit(75)').returncode == 75


def test_a_reader_that_has_left_is_no_message():
    done = shell('"$@" | true', 'import time; time.sleep(0.3); print("result")')
    assert (done.returncode, done.stderr) == (1, '')


def test_a_closed_descriptor_is_not_given_to_a_file(tmp_path):
    code = f'import os; os.write(os.open({str(tmp_path / "out")!r}, 65), str(os.open("/dev/null", 0)).encode())'
    assert shell('"$@" <&- >&- 2>&-', code).returncode == 0
    assert int((tmp_path / 'out').read_text()) > 3


def test_a_stream_that_something_else_has_replaced_stays(monkeypatch):
    replaced = io.StringIO()
    monkeypatch.setattr(sys, 'stderr', replaced)
    with streams.lossy_stderr():
        assert sys.stderr is replaced
    monkeypatch.setattr(sys, 'stderr', sys.__stderr__)
    with streams.lossy_stderr():
        assert sys.stderr is not sys.__stderr__
    assert sys.stderr is sys.__stderr__
