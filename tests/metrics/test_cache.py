"""The cache of the detectors' output: found by content, whole or absent, never an obstacle."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dnnlib.files import TMP_MARK
from metrics.cache import ABANDONED_S, Cache

FIELDS = {'what': 'moments', 'content': 'abc', 'num_items': 3}


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return {'mean': rng.standard_normal(4), 'cov': rng.standard_normal((4, 4)).astype(np.float32)}


def assert_equal(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


# ---- entries


def test_what_was_stored_is_found_and_nothing_else(cache, warnings):
    assert cache.load(FIELDS) is None
    cache.store(FIELDS, arrays())
    assert_equal(cache.load(FIELDS), arrays())
    for field in FIELDS:
        assert cache.load(FIELDS | {field: 'other'}) is None
    assert cache.load(dict(reversed(FIELDS.items()))) is not None
    assert warnings == []


def test_the_fields_stand_in_the_header_in_clear_and_nothing_is_pickled(cache):
    cache.store(FIELDS, arrays())
    with np.load(cache.path(FIELDS), allow_pickle=False) as file:
        assert json.loads(str(file['header']))['fields'] == FIELDS


@pytest.mark.parametrize('cut', [0, 10, 0.5, -1])
def test_a_truncated_entry_is_reported_and_made_again(cache, warnings, cut):
    cache.store(FIELDS, arrays())
    path = cache.path(FIELDS)
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data)) if isinstance(cut, float) else cut])
    assert cache.load(FIELDS) is None
    assert len(warnings) == 1
    assert f'{path}: damaged (' in warnings[0]
    assert not path.exists()
    cache.store(FIELDS, arrays())
    assert_equal(cache.load(FIELDS), arrays())


def test_no_changed_byte_changes_a_number(cache):
    cache.store(FIELDS, arrays())
    path = cache.path(FIELDS)
    data = path.read_bytes()
    for where in range(0, len(data), 29):
        path.write_bytes(data[:where] + bytes([data[where] ^ 0x55]) + data[where + 1 :])
        found = cache.load(FIELDS)
        if found is not None:
            assert_equal(found, arrays())


def test_an_entry_under_anothers_name_is_refused(cache, warnings):
    cache.store(FIELDS, arrays())
    other = FIELDS | {'content': 'xyz'}
    os.replace(cache.path(FIELDS), cache.path(other))
    assert cache.load(other) is None
    assert 'its header belongs to another entry' in warnings[0]


def test_arrays_that_do_not_fit_their_digest_are_refused(cache, warnings):
    cache.store(FIELDS, arrays())
    with np.load(cache.path(FIELDS), allow_pickle=False) as file:
        np.savez(cache.path(FIELDS), header=file['header'], **arrays(seed=1))
    assert cache.load(FIELDS) is None
    assert 'its numbers have changed since they were written' in warnings[0]


def test_a_pickle_in_its_place_is_never_loaded(cache, warnings):
    cache.folder.mkdir()
    with cache.path(FIELDS).open('wb') as file:
        np.savez(file, header=np.array([object()], dtype=object))
    assert cache.load(FIELDS) is None
    assert 'damaged' in warnings[0]


def test_the_folder_is_looked_up_when_it_is_used(tmp_path, monkeypatch):
    cache = Cache()
    monkeypatch.setenv('GANFOUNDRY_CACHE', str(tmp_path / 'a'))
    assert cache.folder == tmp_path / 'a' / 'metrics'
    monkeypatch.delenv('GANFOUNDRY_CACHE')
    monkeypatch.delenv('DNNLIB_CACHE_DIR', raising=False)
    assert cache.folder == Path.home() / '.cache' / 'ganfoundry' / 'metrics'


# ---- a bad machine


def test_a_full_disk_is_reported_and_leaves_nothing(cache, warnings, monkeypatch):
    def full(file, **contents):
        file.write(b'part of it')
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(np, 'savez', full)
    cache.store(FIELDS, arrays())
    assert 'cannot be written (No space left on device)' in warnings[0]
    assert list(cache.folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path, warnings):
    (tmp_path / 'file').write_text('')
    cache = Cache(tmp_path / 'file', warnings.append)
    cache.store(FIELDS, arrays())
    assert cache.load(FIELDS) is None
    assert 'cannot be written' in warnings[0]
    assert 'cannot be read' in warnings[1]


def test_many_writers_and_readers_meet_whole_entries_only(cache, warnings):
    big = {'features': np.arange(200_000, dtype=np.float32)}

    def write():
        for _ in range(10):
            cache.store(FIELDS, big)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found = cache.load(FIELDS)
        assert found is None or np.array_equal(found['features'], big['features'])
    for writer in writers:
        writer.join()
    assert warnings == []
    assert [path.name for path in cache.folder.iterdir()] == [cache.path(FIELDS).name]


KILLED_WRITER = """
import sys, numpy as np, pathlib, zipfile
from metrics.cache import Cache
open_member = zipfile.ZipFile.open
def stop_at_features(self, member, *args, **kwargs):
    if 'features' in getattr(member, 'filename', str(member)):
        self.fp.flush()
        print('half', flush=True)
        sys.stdin.read()
    return open_member(self, member, *args, **kwargs)
zipfile.ZipFile.open = stop_at_features
Cache(pathlib.Path(sys.argv[1])).store({'what': 'x'}, {'cov': np.ones(10), 'features': np.ones(10)})
"""


@pytest.mark.slow
def test_a_writer_killed_in_the_middle_leaves_no_entry(tmp_path, warnings):
    cache, fields = Cache(tmp_path, warnings.append), {'what': 'x'}
    command = [sys.executable, '-c', KILLED_WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b'half\n'
        (left,) = tmp_path.iterdir()
        assert left.stat().st_size > 0
        writer.send_signal(signal.SIGKILL)
    assert cache.load(fields) is None
    assert warnings == []
    assert TMP_MARK in left.name
    cache.store(fields, arrays())
    assert left.exists()  # its writer might live
    os.utime(left, (time.time() - ABANDONED_S - 60,) * 2)
    cache.store(fields, arrays())
    assert list(tmp_path.iterdir()) == [cache.path(fields)]


def test_a_compressed_entry_and_a_pipe_are_no_entries(cache, warnings):
    cache.store(FIELDS, arrays())
    path = cache.path(FIELDS)
    with np.load(path) as file:
        np.savez_compressed(path, **dict(file))
    assert cache.load(FIELDS) is None
    assert 'compressed' in warnings[0]
    os.mkfifo(path)
    assert cache.load(FIELDS) is None
    assert 'a named pipe' in warnings[1]
