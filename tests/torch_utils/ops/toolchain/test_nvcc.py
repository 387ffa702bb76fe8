"""Tests of finding nvcc."""

from __future__ import annotations

from pathlib import Path

import pytest

from torch_utils.ops.toolchain import nvcc


def make_nvcc(folder: Path) -> str:
    """Makes an executable file `nvcc` and returns its path."""
    folder.mkdir(parents=True)
    path = folder / 'nvcc'
    path.write_text('')
    path.chmod(0o755)
    return str(path)


def test_nvcc_is_found_on_the_path_before_cuda_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path, at_home = make_nvcc(tmp_path / 'tools'), make_nvcc(tmp_path / 'cuda' / 'bin')
    monkeypatch.setenv('CUDA_HOME', str(tmp_path / 'cuda'))
    monkeypatch.setenv('PATH', str(tmp_path / 'tools'))
    assert nvcc.find_nvcc() == on_path
    monkeypatch.setenv('PATH', str(tmp_path / 'empty'))
    assert nvcc.find_nvcc() == at_home
