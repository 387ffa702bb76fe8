"""Tests of the spin count: commands set it before PyTorch is imported, and never over the user's choice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dnnlib import spinning
from tests.conftest import ROOT

SET = f'GOMP_SPINCOUNT={spinning.SPIN_COUNT}'


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not imported PyTorch, in which the user has set nothing."""
    for name in spinning.VARIABLES:
        monkeypatch.setenv(name, '')  # is restored after the test
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, 'torch')


def test_a_fresh_process_gets_the_spin_count_for_itself_and_its_children() -> None:
    assert spinning.spin_setting() == 'default'
    spinning.limit_spinning()
    assert spinning.spin_setting() == SET
    child = [sys.executable, '-c', 'import os; print(os.environ["GOMP_SPINCOUNT"])']
    assert int(subprocess.check_output(child)) == spinning.SPIN_COUNT


@pytest.mark.parametrize(
    ('name', 'value'), [('GOMP_SPINCOUNT', '7'), ('GOMP_SPINCOUNT', ''), ('OMP_WAIT_POLICY', 'PASSIVE')]
)
def test_what_the_user_has_set_stays(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    spinning.limit_spinning()
    assert spinning.spin_setting() == f'{name}={value}'


def test_after_pytorch_it_is_too_late_and_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'torch', object())
    spinning.limit_spinning()
    assert spinning.spin_setting() == 'default'


@pytest.mark.slow
@pytest.mark.parametrize(
    'code',
    ['from dnnlib.command import run_command\nrun_command(import_torch)', 'import ganfoundry\nganfoundry.recipes'],
    ids=['command', 'package'],
)
def test_openmp_reads_the_count_that_was_set(code: str) -> None:
    """GNU's OpenMP prints the settings that it reads; loaded alone it stands for PyTorch, which takes seconds."""
    library = next((Path(torch.__file__).parent / 'lib').glob('libgomp*'), None)
    if library is None:
        pytest.skip('this PyTorch has another OpenMP')
    fake = f'import ctypes, importlib\ndef import_torch(*names): ctypes.CDLL({str(library)!r})\n'
    environment = {name: value for name, value in os.environ.items() if name not in spinning.VARIABLES}
    done = subprocess.run(
        [sys.executable, '-c', f'{fake}importlib.import_module = import_torch\n{code}'],
        cwd=ROOT, env=environment | {'OMP_DISPLAY_ENV': 'VERBOSE'}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{spinning.SPIN_COUNT}'" in done.stderr
