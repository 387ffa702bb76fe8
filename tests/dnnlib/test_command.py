"""Tests of commands: errors for users are one line on stderr and exit code 2; exit codes; other errors surface."""

import io
import os
import signal
import subprocess
import sys

import click
import pytest

from dnnlib.command import run_command
from dnnlib.errors import ConfigError
from tests.conftest import ROOT


def fail(error):
    raise error


@pytest.mark.parametrize(('rank', 'who'), [(None, ''), ('0', ''), ('3', ' (rank 3)')])
def test_a_user_error_is_one_line_and_exit_code_2(monkeypatch, capsys, rank, who):
    monkeypatch.delenv('RANK', raising=False)
    if rank is not None:
        monkeypatch.setenv('RANK', rank)
    with pytest.raises(SystemExit) as stopped:
        run_command(lambda: fail(ConfigError('--batch=0:\n  must be positive')))
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f'Error{who}: --batch=0: must be positive\n'


def test_control_characters_of_a_name_do_not_reach_the_terminal(capsys):
    with pytest.raises(SystemExit):
        run_command(lambda: fail(ConfigError('\x1b[2J\u202egpj.\udcff: no such file')))
    assert capsys.readouterr().err == 'Error: \\x1b[2J\\u202egpj.\\xff: no such file\n'


def test_a_bug_keeps_its_traceback():
    with pytest.raises(KeyError):
        run_command(lambda: fail(KeyError('x')))


def test_ctrl_c_is_exit_code_130_though_click_makes_it_1():
    @click.command()
    def draw():
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stopped:
        run_command(lambda: draw([]))
    assert stopped.value.code == 130
    assert signal.getsignal(signal.SIGINT) is before


# A command with a thread that is no daemon, an exit handler, and an object that finalization would delete.
UNFINALIZED = """
import atexit, sys, threading, time
from dnnlib.command import run_command, skip_finalization

class Loud:
    def __del__(self):
        print('finalized', flush=True)

def main():
    {first}
    print('output')
    threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()
    {last}

loud = Loud()
atexit.register(print, 'handler')
run_command(main)
"""


@pytest.mark.parametrize(('first', 'environment'), [('', {'WORLD_SIZE': '2'}), ('skip_finalization()', {})])
@pytest.mark.parametrize(
    ('last', 'code', 'error'),
    [('', 0, ''), ('sys.exit(7)', 7, ''), ('1 / 0', 1, 'ZeroDivisionError: division by zero'),
     ('raise KeyboardInterrupt', 130, 'KeyboardInterrupt')],
)  # fmt: skip
def test_without_finalization_output_exit_code_and_traceback_are_kept(first, environment, last, code, error):
    program = UNFINALIZED.format(first=first, last=last)
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()) == (code, ['output', 'thread', 'handler'])
    assert (done.stderr.splitlines() or [''])[-1] == error
    assert ('Traceback' in done.stderr) == bool(error)


@pytest.mark.parametrize('name', ['b\xe4r.png', 'b\udce4r.png', '\u732b.png'])
@pytest.mark.parametrize('encoding', ['ascii', 'latin-1', 'utf-8'])
def test_a_command_prints_every_name_in_every_locale(monkeypatch, name, encoding):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(printed, encoding=encoding, errors='strict'))
    run_command(lambda: print(name))
    sys.stdout.flush()
    assert printed.getvalue().decode(encoding).strip().encode(encoding) == name.encode(encoding, 'backslashreplace')
