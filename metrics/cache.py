"""What detectors saw in real images, on disk, found by everything that changes it.

An entry is one `.npz` (no pickle in it) whose name is the sha256 of its fields: contents of the data set, number of
images, detector, weights, preprocessing, what was computed and by which version. The fields stand in its header in
clear, with the sha256 of the numbers. Nothing is looked up by path or date, so nothing can be stale.

An entry is written beside its place and renamed: a reader finds it whole or not at all, whoever was killed and however
many write. One that is damaged is reported, taken away and made again; a disk that is full or read-only is reported,
and the measurement goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib.download import cache_folder
from dnnlib.files import TMP_MARK, fsync_path, remove

VERSION = 1  # of the entries' form
ABANDONED_S = 24 * 3600  # a temporary file of that age has no writer any more

Fields = Mapping[str, str | int]
Arrays = dict[str, np.ndarray]


class Cache:
    """A folder of entries.

    folder: None is GANFOUNDRY_CACHE/metrics, else ~/.cache/ganfoundry/metrics, looked up at every use. warn: is told,
    in one sentence, of an entry that cannot be read or written.
    """

    def __init__(self, folder: Path | None = None, warn: Callable[[str], None] = lambda text: None) -> None:
        self._folder = folder
        self.warn = warn

    @property
    def folder(self) -> Path:
        """Where entries are."""
        return cache_folder() / 'metrics' if self._folder is None else self._folder

    def path(self, fields: Fields) -> Path:
        """Where the entry of these fields is, or would be."""
        return self.folder / f'{_key(fields)}.npz'

    def load(self, fields: Fields) -> Arrays | None:
        """The arrays of an entry; None where there is none that can be trusted."""
        path = self.path(fields)
        try:
            return _read(path, fields)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.warn(f'{path}: cannot be read ({error.strerror or error}); it is computed again')
        except Exception as error:  # of a damaged archive NumPy, zipfile, zlib and json each raise what they like
            self.warn(f'{path}: damaged ({error}); it is computed again')
            _forget(path)
        return None

    def store(self, fields: Fields, arrays: Arrays) -> None:
        """Writes an entry. What fails is reported, not raised."""
        path = self.path(fields)
        header = {'version': VERSION, 'fields': dict(fields), 'sha256': _digest(arrays)}
        # Of two writers in two containers both may be process 1.
        tmp = path.with_name(f'{path.name}{TMP_MARK}{os.getpid()}-{os.urandom(4).hex()}')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            with tmp.open('wb') as file:
                savez: Any = np.savez  # its annotation takes the arrays for its own option
                savez(file, header=np.array(json.dumps(header)), **arrays)
            fsync_path(tmp)
            os.replace(tmp, path)
            fsync_path(path.parent)
        except OSError as error:
            self.warn(f'{path}: cannot be written ({error.strerror or error}); the next run computes it again')
        finally:
            _forget(tmp)

    def _sweep(self) -> None:
        """Removes what writers left that were killed long ago."""
        for path in self.folder.glob(f'*{TMP_MARK}*'):
            try:
                abandoned = time.time() - path.stat().st_mtime > ABANDONED_S
            except OSError:  # its writer has just finished
                continue
            if abandoned:
                _forget(path)


def _key(fields: Fields) -> str:
    text = json.dumps({'version': VERSION, **fields}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path, fields: Fields) -> Arrays:
    with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(str(arrays.pop('header')))
    if header['version'] != VERSION or header['fields'] != dict(fields):
        raise ValueError('its header is that of another entry')
    if header['sha256'] != _digest(arrays):
        raise ValueError('its numbers are not those that were written')
    return arrays


def _digest(arrays: Arrays) -> str:
    """sha256 over names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f'{name} {array.dtype} {list(array.shape)}\n'.encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _forget(path: Path) -> None:
    """Removes a file if it is there and can be removed."""
    try:
        remove(path)
    except OSError:
        return
