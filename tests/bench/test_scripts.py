"""The scripts of bench/ can be imported, and report a wrong setting as the commands do: one line, exit code 2."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module

import pytest

from bench import spin
from dnnlib.errors import UserError
from tests.conftest import ROOT
from tests.support.forks import environment

WITHOUT_THIS_TREE = {'zygote.py'}  # runs the code of whichever tree it serves, and has no options
SCRIPTS = sorted(
    path.name
    for path in (ROOT / 'bench').glob('*.py')
    if "__name__ == '__main__'" in path.read_text() and path.name not in WITHOUT_THIS_TREE
)


@pytest.mark.parametrize('name', SCRIPTS)
def test_what_a_script_imports_exists(name):
    import_module(f'bench.{name.removesuffix(".py")}')


@pytest.mark.parametrize('name', SCRIPTS)
def test_a_script_is_run_as_the_commands_are(name):
    last = ast.parse((ROOT / 'bench' / name).read_text()).body[-1]
    assert ast.unparse(last) == "if __name__ == '__main__':\n    run_command(main)"


def test_all_scripts_are_found():
    assert {'first_gpu.py', 'same_bits.py', 'search_demo.py', 'train_step.py'} <= set(SCRIPTS)


def output_of(name, flags, folder):
    """Returns exit code and stderr of a script."""
    command = [sys.executable, str(ROOT / 'bench' / name), *flags]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'flags', 'message'),
    [
        ('train_step.py', ['--cfg=squeze', '--device=cpu'], "unknown --cfg 'squeze': did you mean 'squeeze'?"),
        ('spin.py', ['--cfg=squeze'], "unknown --cfg 'squeze': did you mean 'squeeze'?"),
        ('spin.py', ['--counts=7,many'], "'many': expected a whole number, passive or default"),
    ],
)
def test_a_wrong_setting_is_one_line_with_the_way_out(tmp_path, name, flags, message):
    code, stderr = output_of(name, flags, tmp_path)
    assert code == 2
    assert [line for line in stderr.splitlines() if line.startswith('Error: ')] == stderr.splitlines()[-1:]
    assert message in stderr
    assert 'Traceback' not in stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'flags', 'command', 'message'),
    [
        ('explore.py', ['--network=absent.safetensors'], 'explore.py', 'absent.safetensors'),
        ('scaling.py', ['measure', '--gpus=1', '--device=cup'], 'train.py', 'cup'),
    ],
)
def test_the_error_of_a_command_that_a_script_runs_is_shown(tmp_path, name, flags, command, message):
    code, stderr = output_of(name, flags, tmp_path)
    *_, own, last = stderr.splitlines()
    assert code == 2
    assert own.startswith('Error: ')
    assert message in own
    assert last == f'Error: {command} ended with exit code 2; its error is above'
    assert 'Traceback' not in stderr


def test_a_training_process_that_ends_is_an_error_of_the_user():
    mine, theirs = spin.SPAWN.Pipe()
    theirs.close()
    with pytest.raises(UserError, match='a training process has ended'):
        spin.answer_of(mine)
