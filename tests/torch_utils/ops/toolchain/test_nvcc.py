"""Tests of finding nvcc."""

from __future__ import annotations

from pathlib import Path

import pytest

from torch_utils.ops.toolchain import nvcc


def make_nvcc(folder: Path, version: str = '13.0') -> str:
    """Makes an executable file `nvcc` that knows its version, and returns its path."""
    folder.mkdir(parents=True)
    path = folder / 'nvcc'
    path.write_text(f'#!/bin/sh\necho "Cuda compilation tools, release {version}, V{version}.88"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The nvcc of an installed Python package, version 13.0."""
    path = make_nvcc(tmp_path / 'site' / 'nvidia' / 'cu13' / 'bin')
    about = tmp_path / 'site' / 'nvidia_cuda_nvcc-13.0.88.dist-info'
    about.mkdir()
    (about / 'METADATA').write_text('Metadata-Version: 2.1\nName: nvidia-cuda-nvcc\nVersion: 13.0.88\n')
    (about / 'RECORD').write_text('nvidia/cu13/bin/nvcc.profile,,\nnvidia/cu13/bin/nvcc,,\n')
    monkeypatch.syspath_prepend(str(tmp_path / 'site'))
    monkeypatch.setattr(nvcc, 'INSTALLER_HOME', str(tmp_path / 'none'))
    monkeypatch.delenv('CUDA_HOME', raising=False)
    monkeypatch.setenv('PATH', str(tmp_path / 'empty'))
    return path


def test_nvcc_is_found_on_the_path_before_cuda_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path, at_home = make_nvcc(tmp_path / 'tools'), make_nvcc(tmp_path / 'cuda' / 'bin')
    monkeypatch.setenv('CUDA_HOME', str(tmp_path / 'cuda'))
    monkeypatch.setenv('PATH', str(tmp_path / 'tools'))
    assert nvcc.find_nvcc() == on_path
    monkeypatch.setenv('PATH', str(tmp_path / 'empty'))
    assert nvcc.find_nvcc() == at_home


def test_the_nvcc_of_the_python_package_is_found_where_there_is_no_other(
    packaged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nvcc.find_nvcc() == packaged
    on_path = make_nvcc(tmp_path / 'tools', '13.5')
    monkeypatch.setenv('PATH', str(tmp_path / 'tools'))
    assert nvcc.find_nvcc() == nvcc.find_nvcc('13.0') == on_path


def test_an_nvcc_of_another_major_version_hides_no_fitting_one(
    packaged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = make_nvcc(tmp_path / 'tools', '11.8')
    monkeypatch.setenv('PATH', f'{tmp_path / "tools"}:/bin')
    assert nvcc.find_nvcc('13.0') == packaged
    assert nvcc.find_nvcc('12.8') == on_path  # neither fits


def test_one_nvcc_found_in_several_ways_is_not_asked_for_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_nvcc(tmp_path / 'cuda' / 'bin')
    monkeypatch.setattr(nvcc, 'INSTALLER_HOME', str(tmp_path / 'cuda'))
    monkeypatch.setattr(nvcc, 'packaged_nvcc', lambda: None)
    monkeypatch.setattr(nvcc, 'release', lambda path: pytest.fail(f'{path} was run'))
    monkeypatch.delenv('CUDA_HOME', raising=False)
    monkeypatch.setenv('PATH', str(tmp_path / 'cuda' / 'bin'))
    assert nvcc.find_nvcc('13.0') == path


def test_only_an_nvcc_of_packages_has_its_runtime_named(packaged: str, tmp_path: Path) -> None:
    assert nvcc.runtime_flags(packaged) == ()
    runtime = tmp_path / 'site' / 'nvidia' / 'cu13' / 'lib' / 'libcudart_static.a'
    runtime.parent.mkdir()
    runtime.write_text('')
    assert nvcc.runtime_flags(packaged) == (f'-L{runtime.parent}',)


@pytest.mark.parametrize(
    ('cuda', 'begin'),
    [
        ('13.0', 'pip install "ganfoundry[cuda]", or install the CUDA toolkit, '),
        (None, 'pip install "ganfoundry[cuda]", or install the CUDA toolkit, '),
        ('12.8', 'install the CUDA toolkit 12.8, '),
    ],
)
def test_the_way_to_nvcc_is_one_for_the_cuda_version_of_pytorch(cuda: str | None, begin: str) -> None:
    assert nvcc.way_to_nvcc(cuda).startswith(begin)
