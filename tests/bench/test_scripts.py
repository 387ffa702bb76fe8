"""The scripts of bench/ can be imported, and report a wrong setting as the commands do: one line, exit code 2."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module

import pytest

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


@pytest.mark.slow
def test_a_wrong_setting_is_one_line_with_the_way_out(tmp_path):
    command = [sys.executable, str(ROOT / 'bench' / 'train_step.py'), '--cfg=squeze', '--device=cpu']
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith('Error: ')] == done.stderr.splitlines()[-1:]
    assert "unknown --cfg 'squeze': did you mean 'squeeze'?" in done.stderr
    assert 'Traceback' not in done.stderr
