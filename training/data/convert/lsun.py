"""Pictures in an LMDB database, the format of LSUN's categories: the bytes of one file (WebP, JPEG) per key."""

from __future__ import annotations

import array
import io
import os

import numpy as np

from dnnlib.errors import DataError
from dnnlib.regular_file import open_regular
from training.data.convert.lmdb_file import DamagedError, read_places
from training.data.convert.source import NamedPictures, SourceLabels
from training.data.names import decode_name
from training.data.passed_over import PassedOver
from training.data.zip_index import MAX_FILE_BYTES, TOO_LARGE

_FILE_NAME = 'data.mdb'


def is_lmdb(path: str) -> bool:
    """Whether a folder is an LMDB database."""
    return os.path.lexists(os.path.join(path, _FILE_NAME))


class LmdbSource(NamedPictures):
    """A PictureSource in the order of the keys, opened without a lock and for reading only."""

    def __init__(self, path: str) -> None:
        """Opens the database. Raises DataError when it cannot be read."""
        self.path = path
        self.passed_over = PassedOver()
        keys: list[bytes] = []
        places = array.array('q')  # offset and size of every value
        self._file: io.BufferedReader | None = None
        try:
            self._file = open_regular(os.path.join(path, _FILE_NAME))
            for place in read_places(self._file, os.fstat(self._file.fileno()).st_size):
                keys.append(place.key)
                places.extend((place.offset, place.size))
        except (DamagedError, OSError) as error:
            if self._file is not None:
                self._file.close()
            fault = error.strerror if isinstance(error, OSError) else error
            raise DataError(f'{path}: cannot be read as an LMDB database ({fault}); download it again') from error
        # [num_pictures] as arrays: LSUN has categories of millions
        self._keys = np.array(keys, dtype=np.bytes_)
        self._places = np.array(places, dtype=np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._keys)

    def name(self, index: int) -> str:
        return decode_name(self._keys[index])

    def where(self, index: int) -> str:
        return f'{self.path}: {self.name(index)}'

    def read(self, index: int) -> bytes:
        assert self._file is not None
        offset, size = self._places[index].tolist()
        if size > MAX_FILE_BYTES:
            raise DataError(f'{self.where(index)}: {TOO_LARGE}')
        try:
            self._file.seek(offset)
            data = self._file.read(size)
        except OSError as error:
            raise DataError(f'{self.where(index)}: cannot be read ({error.strerror or error})') from error
        if len(data) < size:
            raise DataError(f'{self.where(index)}: is cut short; was the database changed while in use?')
        return data

    def read_labels(self) -> SourceLabels | None:
        return None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
