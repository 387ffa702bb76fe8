"""Tests of run folders, of their lock, and of folders that are renamed."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dnnlib import folders
from dnnlib.errors import ConfigError
from dnnlib.folders import HeldFolder, exclusive


@pytest.mark.slow
def test_eight_launches_at_once_make_eight_folders(tmp_path):
    with multiprocessing.get_context('fork').Pool(8) as pool:
        made = pool.starmap(folders.make_run_dir, [(tmp_path / 'runs', f'run{i % 2}') for i in range(24)])
    assert sorted(int(path.name[:5]) for path in made) == list(range(24))


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match=r'--outdir=.*cannot make a run folder there'):
        folders.make_run_dir(tmp_path / 'file' / 'runs', 'x')


@pytest.mark.slow
def test_a_second_process_is_told_who_holds_the_lock(tmp_path):
    code = 'import sys, pathlib\nfrom dnnlib.folders import exclusive\nwith exclusive(pathlib.Path(sys.argv[1])): pass'
    with folders.exclusive(tmp_path / '.lock'):
        done = subprocess.run([sys.executable, '-c', code, str(tmp_path / '.lock')], capture_output=True, text=True)
    assert 'another process trains in this folder: pid' in done.stderr
    subprocess.run([sys.executable, '-c', code, str(tmp_path / '.lock')], check=True)


@pytest.mark.parametrize('gone', [False, True])
def test_the_lock_holds_when_its_file_is_removed(tmp_path, gone):
    """flock belongs to an open file, so that a second opening in this process is like another process."""
    lock = tmp_path / '.lock'
    with exclusive(lock) as locked:
        assert locked
        if gone:
            lock.unlink()
        said = 'its .lock, which would name it, was removed' if gone else f'pid {os.getpid()} on '
        with pytest.raises(ConfigError, match=said), exclusive(lock):
            pass
        assert lock.exists() != gone
    with exclusive(lock):
        pass


def test_a_lock_file_of_a_version_that_locks_the_file_alone_counts(tmp_path):
    import fcntl

    with (tmp_path / '.lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match='another process trains in this folder'), exclusive(tmp_path / '.lock'):
            pass


def test_a_folder_without_locks_is_reported_and_used(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, '_lock', lambda handle: None)
    with exclusive(tmp_path / '.lock') as locked:
        assert not locked
    assert folders.make_run_dir(tmp_path, 'x').is_dir()


def test_the_lock_of_a_folder_that_is_absent_names_it(tmp_path):
    with (
        pytest.raises(ConfigError, match=r'absent: cannot be written to \(No such file'),
        exclusive(tmp_path / 'absent/.lock'),
    ):
        pass


def test_an_outdir_in_which_a_run_trains_is_refused_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, 'TURN_S', 0.1)
    with exclusive(tmp_path / '.lock'), pytest.raises(ConfigError, match='another process has held this folder'):
        folders.make_run_dir(tmp_path, 'x')


def test_a_number_that_another_process_takes_meanwhile_is_passed_over(tmp_path, monkeypatch):
    make = Path.mkdir

    def race(path, *args, **how):
        if path.name == '00000-x':
            make(path)
        make(path, *args, **how)

    monkeypatch.setattr(Path, 'mkdir', race)
    assert folders.make_run_dir(tmp_path, 'x').name == '00001-x'


def test_a_folder_is_found_after_it_was_renamed_moved_and_replaced(tmp_path):
    (tmp_path / 'a').mkdir()
    held = HeldFolder(tmp_path / 'a')
    try:
        (tmp_path / 'a').rename(tmp_path / 'b')
        assert held.path == tmp_path / 'b'
        (tmp_path / 'c').mkdir()
        (tmp_path / 'b').rename(tmp_path / 'c' / 'b')
        (tmp_path / 'b').mkdir()
        assert held.path == tmp_path / 'c' / 'b'
        (tmp_path / 'c').rename(tmp_path / 'd')
        assert held.path == tmp_path / 'd' / 'b'
        held.path.rmdir()
        assert held.path == tmp_path / 'd' / 'b'  # the last known one
    finally:
        held.close()
