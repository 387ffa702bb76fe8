"""Cache on disk of the detectors' output for real images, with a key of everything that changes it.

An entry is one `.npz` without pickles whose name is the sha256 of its fields: contents of the data set, number of
images, detector, weights, preprocessing, kind of statistics and its version. The header repeats the fields in clear
text, with the sha256 of the numbers. Entries are never found by path or date, so they cannot be stale.

An entry is written to a temporary file and renamed: a reader finds it whole or not at all, whatever process was killed
and however many write. A damaged entry is reported, removed and computed again; a disk that is full or read-only is
reported, and the measurement continues.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib.download import cache_folder
from dnnlib.files import TMP_MARK, fsync_path, remove
from dnnlib.records import parse_record
from dnnlib.regular_file import open_regular

VERSION = 1  # form of the entries
ABANDONED_S = 24 * 3600  # the writer of an older temporary file was killed

Fields = Mapping[str, str | int]
Arrays = dict[str, np.ndarray]


class Cache:
    """A folder of entries.

    Args:
        folder: The folder; None for GANFOUNDRY_CACHE/metrics, else ~/.cache/ganfoundry/metrics, read at every use.
        warn: Receives one sentence about an entry that cannot be read or written.
    """

    def __init__(self, folder: Path | None = None, warn: Callable[[str], None] = lambda text: None) -> None:
        self._folder = folder
        self.warn = warn

    @property
    def folder(self) -> Path:
        """The folder of the entries."""
        return cache_folder() / 'metrics' if self._folder is None else self._folder

    def path(self, fields: Fields) -> Path:
        """Returns the path of the entry with these fields, which need not exist."""
        return self.folder / f'{_key(fields)}.npz'

    def load(self, fields: Fields) -> Arrays | None:
        """Returns the arrays of an entry, None if there is no intact one."""
        path = self.path(fields)
        try:
            return _read(path, fields)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            self.warn(f'{path}: cannot be read ({error.strerror or error}); it is computed again')
        except Exception as error:  # NumPy, zipfile, zlib and json have many exceptions for damaged archives
            self.warn(f'{path}: damaged ({error}); it is computed again')
            _forget(path)
        return None

    def store(self, fields: Fields, arrays: Arrays) -> None:
        """Writes an entry. A failure is reported, not raised."""
        path = self.path(fields)
        header = {'version': VERSION, 'fields': dict(fields), 'sha256': _digest(arrays)}
        # Two writers in two containers may both be process 1.
        tmp = path.with_name(f'{path.name}{TMP_MARK}{os.getpid()}-{os.urandom(4).hex()}')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            with tmp.open('wb') as file:
                savez: Any = np.savez  # its annotation mistakes the arrays for its option
                savez(file, header=np.array(json.dumps(header)), **arrays)
            fsync_path(tmp)
            os.replace(tmp, path)
            fsync_path(path.parent)
        except OSError as error:
            self.warn(f'{path}: cannot be written ({error.strerror or error}); the next run computes it again')
        finally:
            _forget(tmp)

    def _sweep(self) -> None:
        """Removes temporary files of writers that were killed long ago."""
        for path in self.folder.glob(f'*{TMP_MARK}*'):
            try:
                abandoned = time.time() - path.stat().st_mtime > ABANDONED_S
            except OSError:  # the writer has just finished
                continue
            if abandoned:
                _forget(path)


def _key(fields: Fields) -> str:
    text = json.dumps({'version': VERSION, **fields}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path, fields: Fields) -> Arrays:
    with open_regular(path) as file:
        with zipfile.ZipFile(file) as contents:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in contents.infolist()):
                raise ValueError('it is compressed, which no entry is')
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    header = parse_record(str(arrays.pop('header')), 'its header')
    if header.whole('version') != VERSION or header.record('fields').values != dict(fields):
        raise ValueError('its header belongs to another entry')
    if header.text('sha256') != _digest(arrays):
        raise ValueError('its numbers have changed since they were written')
    return arrays


def _digest(arrays: Arrays) -> str:
    """Returns the sha256 over names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f'{name} {array.dtype} {list(array.shape)}\n'.encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _forget(path: Path) -> None:
    """Removes a file if it exists and can be removed."""
    try:
        remove(path)
    except OSError:
        return
