"""Tests of the variables that are set before PyTorch is imported, and never over the user's choice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dnnlib import torch_defaults
from tests.conftest import ROOT

SET = f'GOMP_SPINCOUNT={torch_defaults.SPIN_COUNT}'


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not imported PyTorch, in which the user has set nothing."""
    for name in (*torch_defaults.SPINNING, *torch_defaults.GPU_MEMORY):
        monkeypatch.setenv(name, '')  # is restored after the test
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, 'torch')


def test_a_fresh_process_gets_the_spin_count_for_itself_and_its_children() -> None:
    assert torch_defaults.spin_setting() == 'default'
    torch_defaults.set_torch_defaults()
    assert torch_defaults.spin_setting() == SET
    child = [sys.executable, '-c', 'import os; print(os.environ["GOMP_SPINCOUNT"])']
    assert int(subprocess.check_output(child)) == torch_defaults.SPIN_COUNT


@pytest.mark.parametrize(
    ('name', 'value'), [('GOMP_SPINCOUNT', '7'), ('GOMP_SPINCOUNT', ''), ('OMP_WAIT_POLICY', 'PASSIVE')]
)
def test_what_the_user_has_set_stays(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    torch_defaults.set_torch_defaults()
    assert torch_defaults.spin_setting() == f'{name}={value}'


def test_a_fresh_process_and_its_children_let_blocks_of_gpu_memory_grow() -> None:
    torch_defaults.set_torch_defaults()
    assert os.environ['PYTORCH_ALLOC_CONF'] == 'expandable_segments:True'


@pytest.mark.parametrize('name', torch_defaults.GPU_MEMORY)
def test_an_allocator_that_the_user_has_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, 'max_split_size_mb:64')
    torch_defaults.set_torch_defaults()
    given = {key: os.environ[key] for key in torch_defaults.GPU_MEMORY if key in os.environ}
    assert given == {name: 'max_split_size_mb:64'}


def test_after_pytorch_it_is_too_late_and_nothing_is_set_or_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'torch', object())
    torch_defaults.set_torch_defaults()
    assert torch_defaults.spin_setting() == 'default'
    assert 'PYTORCH_ALLOC_CONF' not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize(
    'code',
    ['from dnnlib.command import run_command\nrun_command(import_torch)', 'import ganfoundry\nganfoundry.recipes'],
    ids=['command', 'package'],
)
def test_openmp_reads_the_count_that_was_set(code: str) -> None:
    """GNU's OpenMP prints the settings that it reads; it is loaded in place of PyTorch, which takes seconds."""
    library = next((Path(torch.__file__).parent / 'lib').glob('libgomp*'), None)
    if library is None:
        pytest.skip('this PyTorch has another OpenMP')
    fake = f'import ctypes, importlib\ndef import_torch(*names): ctypes.CDLL({str(library)!r})\n'
    environment = {name: value for name, value in os.environ.items() if name not in torch_defaults.SPINNING}
    done = subprocess.run(
        [sys.executable, '-c', f'{fake}importlib.import_module = import_torch\n{code}'],
        cwd=ROOT, env=environment | {'OMP_DISPLAY_ENV': 'VERBOSE'}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{torch_defaults.SPIN_COUNT}'" in done.stderr
