"""Tests of the build: once per library, missing tools are named, nothing hangs, and no compiler is required."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from torch_utils.ops.toolchain import build, cpu_toolchain

needs_compiler = pytest.mark.skipif(
    cpu_toolchain.find_cxx() is None or cpu_toolchain.find_ninja() is None, reason='needs g++ and ninja'
)
ANSWER = 'extern "C" int answer() { return %d; }\n'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a temporary folder of this test only."""
    (tmp_path / 'tmp').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))
    monkeypatch.setenv('GANFOUNDRY_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def source(tmp_path: Path, cache: Path) -> Path:
    """A folder with one C++ file that compiles quickly."""
    folder = tmp_path / 'csrc'
    folder.mkdir()
    (folder / 'answer.cpp').write_text(ANSWER % 42)
    return folder


def answer(library: Path) -> int:
    return ctypes.CDLL(str(library)).answer()


def use_path(monkeypatch: pytest.MonkeyPatch, folder: Path, *tools: str) -> None:
    """Sets a PATH with these tools only and hides pip's folder."""
    folder.mkdir()
    for tool in tools:
        (folder / tool).symlink_to(shutil.which(tool) or 'nowhere')
    monkeypatch.setenv('PATH', str(folder))
    monkeypatch.setattr(sys, 'executable', str(folder / 'python'))


def lock_path(source: Path, cache: Path) -> Path:
    """Returns the path of the lock of this library; makes the cache folder."""
    cache.mkdir()
    return cache / f'ops-{build.digest(source, cpu_toolchain.find_toolchain())[:20]}.lock'


@needs_compiler
def test_builds_every_source_into_one_library(source: Path, cache: Path):
    (source / 'more').mkdir()
    (source / 'more' / 'more.h').write_text('#define SEVEN 7\n')
    (source / 'more' / 'more.cpp').write_text('#include "more/more.h"\nextern "C" int more() { return SEVEN; }\n')
    library = build.build_library(source)
    assert library.parent == cache
    assert answer(library) == 42
    assert ctypes.CDLL(str(library)).more() == 7
    assert {path.suffix for path in cache.iterdir()} == {'.so', '.lock'}  # no leftovers


@needs_compiler
def test_second_call_does_not_rebuild(source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    assert build.find_built(source) is None
    library = build.build_library(source)
    assert 'building' in capsys.readouterr().err
    monkeypatch.setattr(build, '_compile', lambda *_: pytest.fail('compiled again'))
    assert build.build_library(source) == library == build.find_built(source)
    assert capsys.readouterr().err == ''


@needs_compiler
def test_whatever_changes_the_machine_code_changes_the_key(source: Path, monkeypatch: pytest.MonkeyPatch):
    tools = cpu_toolchain.find_toolchain()
    keys = [build.digest(source, tools)]
    (source / 'answer.cpp').write_text(ANSWER % 43)
    keys.append(build.digest(source, tools))
    (source / 'answer.h').write_text('\n')
    keys.append(build.digest(source, tools))
    (source / 'folder').mkdir()
    (source / 'answer.h').rename(source / 'folder' / 'answer.h')
    keys.append(build.digest(source, tools))
    with monkeypatch.context() as patch:
        patch.setattr(torch, '__version__', '9.9.9')
        keys.append(build.digest(source, tools))
    with monkeypatch.context() as patch:
        patch.setattr(cpu_toolchain, 'cpu_features', lambda: ('x86_64', 'avx1024'))
        keys.append(build.digest(source, tools))
    assert len(set(keys)) == 6
    assert answer(build.build_library(source)) == 43


def test_no_compiler_is_named_with_the_way_out(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use_path(monkeypatch, tmp_path / 'bin')
    loaded = build.load_cpu(source)
    assert not loaded
    assert loaded.library is None
    assert 'no g++ on the PATH' in loaded.problem
    assert 'apt install g++' in loaded.problem


@needs_compiler
def test_no_ninja_is_named_with_the_way_out(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use_path(monkeypatch, tmp_path / 'bin', 'g++')
    assert 'no ninja' in build.load_cpu(source).problem
    assert 'pip install ninja' in build.load_cpu(source).problem


@needs_compiler
def test_a_source_that_does_not_compile_is_quoted_and_its_log_kept(source: Path, cache: Path):
    (source / 'broken.cpp').write_text('int broken( { return 1; }\n')
    problem = build.load_cpu(source).problem
    assert 'broken.cpp:1:' in problem
    assert len(problem.splitlines()) == 1
    log = Path(problem.rpartition('Log: ')[2])
    assert log.parent == cache
    assert 'broken.cpp:1:' in log.read_text()
    assert not list(cache.glob('*.so'))


@needs_compiler
def test_a_missing_header_is_named(source: Path):
    (source / 'answer.cpp').write_text('#include <no_such_header.h>\n')
    with pytest.raises(cpu_toolchain.BuildError, match=r'the header no_such_header\.h is missing'):
        build.build_library(source)


def test_a_failed_build_is_tried_once(source: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []

    def fail(folder: Path) -> Path:
        calls.append(folder)
        raise cpu_toolchain.BuildError('no luck')

    monkeypatch.setattr(build, 'build_library', fail)
    assert build.load_cpu(source) == build.load_cpu(source)
    assert calls == [source]


@needs_compiler
def test_the_lock_of_a_dead_process_stops_nobody(source: Path, cache: Path, capsys: pytest.CaptureFixture):
    path = lock_path(source, cache)
    path.write_text('pid 999999999 on elsewhere since 2020-01-01 00:00:00\n')
    killed = path.with_name(f'{path.stem}.tmp-killed')
    killed.mkdir()
    assert answer(build.build_library(source)) == 42
    assert 'waiting' not in capsys.readouterr().err
    assert path.read_text().startswith(f'pid {os.getpid()} on ')
    assert not killed.exists()


@needs_compiler
def test_a_live_owner_is_waited_for_and_its_library_taken(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    path, said = lock_path(source, cache), []
    with path.open('w') as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        owner.write('pid 17 on here since noon\n')
        owner.flush()

        def finish(text: str) -> None:
            said.append(text)
            path.with_suffix('.so').write_text('made by the owner')
            fcntl.flock(owner, fcntl.LOCK_UN)

        monkeypatch.setattr(build, 'say', finish)
        assert build.build_library(source).read_text() == 'made by the owner'
    assert said == ['waiting until pid 17 on here since noon has built them, 1800 s at most']


@pytest.mark.slow
@needs_compiler
def test_an_owner_that_is_stuck_is_passed_by(source: Path, cache: Path, capsys: pytest.CaptureFixture):
    path = lock_path(source, cache)
    hold = 'import fcntl, sys; f = open(sys.argv[1], "w"); fcntl.flock(f, 2); print("held", flush=True); input()'
    command = [sys.executable, '-c', hold, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b'held\n'
        assert answer(build.build_library(source, wait_timeout_s=0.2)) == 42
        owner.communicate(b'\n')
    assert 'for too long; building them here' in capsys.readouterr().err


@pytest.mark.slow
@needs_compiler
def test_two_processes_at_once_build_once(source: Path, cache: Path, tmp_path: Path):
    wrapper, calls = tmp_path / 'bin' / 'g++', tmp_path / 'calls'
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n[ "$1" = --version ] || sleep 0.5\n'
                       f'exec {cpu_toolchain.find_cxx()} "$@"\n')  # fmt: skip
    wrapper.chmod(0o755)
    environment = {**os.environ, 'PATH': f'{wrapper.parent}:{os.environ["PATH"]}', 'OMP_NUM_THREADS': '1'}
    script = (
        'import pathlib, sys; from torch_utils.ops.toolchain.build import build_library; '
        'print(build_library(pathlib.Path(sys.argv[1])))'
    )
    command = [sys.executable, '-c', script, str(source)]
    both = [subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    libraries = {process.communicate(timeout=120)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(libraries) == 1
    assert answer(Path(libraries.pop())) == 42
    assert sum('-c' in line.split() for line in calls.read_text().splitlines()) == 1


@needs_compiler
def test_a_cache_that_cannot_be_written_falls_back_to_a_temporary_folder(source: Path, cache: Path, tmp_path: Path):
    cache.write_text('a file stands where the folder should be')
    library = build.build_library(source)
    assert library.parent == tmp_path / 'tmp' / f'ganfoundry-{os.getuid()}'
    assert library.parent.stat().st_mode & 0o777 == 0o700
    assert answer(library) == 42
    assert build.build_library(source) == library


@needs_compiler
def test_a_read_only_cache_is_read_and_not_written(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    library = build.build_library(source)
    real = tempfile.TemporaryFile

    def refuse(dir: Path) -> object:
        if dir == cache:
            raise PermissionError(13, 'Permission denied')
        return real(dir=dir)

    monkeypatch.setattr(tempfile, 'TemporaryFile', refuse)
    assert build.build_library(source) == library
    (source / 'answer.cpp').write_text(ANSWER % 43)
    assert build.build_library(source).parent != cache


@needs_compiler
def test_a_folder_that_others_may_write_in_is_not_trusted(source: Path, cache: Path, tmp_path: Path):
    cache.write_text('')
    shared = tmp_path / 'tmp' / f'ganfoundry-{os.getuid()}'
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(cpu_toolchain.BuildError, match=r'may be written by others.*set GANFOUNDRY_CACHE'):
        build.build_library(source)


@needs_compiler
def test_a_damaged_library_is_reported_with_its_path(source: Path):
    library = build.build_library(source)
    library.write_bytes(b'no library')
    problem = build.load_cpu(source).problem
    assert str(library) in problem
    assert 'remove that file' in problem


@needs_compiler
def test_load_is_true_where_the_library_is_there(source: Path, cache: Path):
    loaded = build.load_cpu(source)
    assert loaded
    assert loaded.library.parent == cache
    assert loaded.problem is None
