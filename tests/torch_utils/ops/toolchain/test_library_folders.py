"""Tests of the folders of libraries: none is loaded that somebody else can have put there."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from torch_utils.ops.toolchain import build, library_folders
from torch_utils.ops.toolchain.cpu_toolchain import BuildError
from torch_utils.ops.toolchain.library_folders import check_library, writable_folder


@pytest.fixture(params=['GANFOUNDRY_CACHE', 'HOME'])
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first cache folder, named by either variable, which everybody may write to, and a private temporary one."""
    folder = tmp_path / 'first'
    if request.param == 'HOME':
        monkeypatch.delenv('GANFOUNDRY_CACHE', raising=False)
        folder = folder / '.cache' / 'ganfoundry'
    monkeypatch.setenv(request.param, str(tmp_path / 'first'))
    monkeypatch.setattr(library_folders, '_reported', set())
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))
    (tmp_path / 'tmp').mkdir()
    folder.mkdir(parents=True)
    (tmp_path / 'first').chmod(0o777)
    return folder


def test_a_library_in_a_folder_of_everybody_is_passed_over_and_the_reason_said_once(cache, monkeypatch, capsys):
    planted = cache / build._file_name('k' * 20)
    planted.write_bytes(b'')
    assert build._find('k' * 20) is None
    assert build._find('k' * 20) is None
    said = capsys.readouterr().err
    assert said.count('may be written by others') == 1
    assert 'GANFOUNDRY_CACHE' in said
    with pytest.raises(BuildError, match=r'not loaded from .* may be written by others'):
        check_library(planted)


def test_another_folder_is_built_in(cache, tmp_path):
    assert writable_folder().parent == tmp_path / 'tmp'


def test_a_link_of_the_expected_name_into_a_folder_of_everybody_is_passed_over(tmp_path, cache, monkeypatch):
    own = tmp_path / 'own'
    own.mkdir(mode=0o700)
    (cache / 'planted.so').write_bytes(b'')
    (own / build._file_name('k' * 20)).symlink_to(cache / 'planted.so')
    monkeypatch.setenv('GANFOUNDRY_CACHE', str(own))
    assert build._find('k' * 20) is None


def test_a_library_that_others_may_write_is_not_loaded_though_its_folder_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv('GANFOUNDRY_CACHE', str(tmp_path))
    planted = tmp_path / build._file_name('k' * 20)
    planted.write_bytes(b'')
    planted.chmod(0o666)
    assert build._find('k' * 20) is None


def test_a_library_that_is_replaced_while_it_is_examined_is_not_loaded(tmp_path, monkeypatch):
    library, other = tmp_path / 'ops.so', tmp_path / 'other.so'
    library.write_bytes(b'')
    other.write_bytes(b'')
    check_library(library)
    monkeypatch.setattr(library_folders, 'distrust', lambda path: other.replace(path) and None)
    with pytest.raises(BuildError, match='was replaced while it was examined'):
        check_library(library)
