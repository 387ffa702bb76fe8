"""Tests of opening what somebody else named."""

import errno
import os
import pickle
import socket
import threading
from pathlib import Path

import pytest

from dnnlib.errors import FileError
from dnnlib.regular_file import check_regular, open_regular, read_regular


def special(folder: Path, kind: str) -> Path:
    """Makes a file that is no regular one and returns its path."""
    path = folder / kind
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'socket':
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))
    elif kind == 'folder':
        path.mkdir()
    elif kind == 'loop':
        path.symlink_to(path)
    elif kind == 'dangling':
        path.symlink_to(folder / 'nothing')
    elif kind == 'link to a device':
        path.symlink_to('/dev/zero')
    return path


@pytest.mark.parametrize(
    ('kind', 'said'),
    [
        ('pipe', 'a named pipe'),
        ('socket', 'a socket'),
        ('folder', 'a folder'),
        ('loop', 'a link that leads to itself'),
        ('dangling', 'a link to nothing'),
        ('link to a device', 'a device'),
        ('absent', 'no such file'),
    ],
)
def test_only_regular_files_are_opened_and_nothing_waits(tmp_path, monkeypatch, kind, said):
    monkeypatch.chdir(tmp_path)
    path, errors = special(tmp_path, kind), []

    def attempt():
        with pytest.raises(FileError) as caught:
            open_regular(path)
        errors.append(caught.value)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), 'it waits'
    assert said in str(errors[0])
    assert str(path) in str(errors[0])
    assert isinstance(errors[0], OSError)
    assert errors[0].errno


def test_a_name_with_nul_and_one_that_is_too_long_are_refused_in_words(tmp_path):
    for name, said in (('a\0b', 'not the name of a file'), ('n' * 300, 'cannot be opened')):
        with pytest.raises(FileError, match=said):
            check_regular(tmp_path / name)


def test_a_file_and_a_link_to_one_are_read_in_blocking_mode(tmp_path):
    (tmp_path / 'file').write_bytes(b'data')
    (tmp_path / 'link').symlink_to('file')
    with open_regular(tmp_path / 'link') as file:
        assert os.get_blocking(file.fileno())
        assert file.read() == b'data'
    assert read_regular(tmp_path / 'file', 4) == b'data'
    with pytest.raises(FileError, match='larger than 3 bytes') as caught:
        read_regular(tmp_path / 'file', 3)
    assert caught.value.errno == errno.EFBIG


def test_the_error_passes_from_one_process_to_another(tmp_path):
    with pytest.raises(FileError) as caught:
        open_regular(tmp_path / 'absent')
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.errno) == (str(caught.value), errno.ENOENT)
