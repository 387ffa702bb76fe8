"""Pictures in an LMDB database, the format of LSUN's categories: the bytes of one file (WebP, JPEG) per key."""

from __future__ import annotations

import os
from typing import Any

from dnnlib.errors import ConfigError, DataError
from training.data.convert.source import SourceLabels
from training.data.source import MAX_FILE_BYTES, decode_name, encode_names


def is_lmdb(path: str) -> bool:
    """Whether a folder is an LMDB database."""
    return os.path.isfile(os.path.join(path, 'data.mdb'))


class LmdbSource:
    """A PictureSource in the order of the keys, opened without a lock and for reading only."""

    def __init__(self, path: str) -> None:
        """Opens the database. Raises ConfigError without the lmdb package, DataError when it cannot be read."""
        try:
            import lmdb
        except ImportError as error:
            needed = "pip install 'lmdb>=1.4'"
            raise ConfigError(f'{path}: is an LMDB database, which needs the lmdb package: {needed}') from error
        self.path = path
        self._error = lmdb.Error
        try:
            self._database: Any = lmdb.open(path, readonly=True, lock=False, readahead=False, create=False)
            with self._database.begin() as transaction:
                keys = [decode_name(key) for key in transaction.cursor().iternext(values=False)]
        except (lmdb.Error, OSError) as error:
            raise DataError(f'{path}: cannot be read as an LMDB database ({error}); download it again') from error
        self._keys = encode_names(keys)  # [num_pictures] S: LSUN has categories of millions

    def __len__(self) -> int:
        return len(self._keys)

    def name(self, index: int) -> str:
        return decode_name(self._keys[index])

    def where(self, index: int) -> str:
        return f'{self.path}: {self.name(index)}'

    def read(self, index: int) -> bytes:
        try:
            with self._database.begin(buffers=True) as transaction:
                value = transaction.get(bytes(self._keys[index]))
                if value is None or len(value) > MAX_FILE_BYTES:
                    size = 'gone' if value is None else f'larger than {MAX_FILE_BYTES >> 20} MB'
                    raise DataError(f'{self.where(index)}: is {size}')
                return bytes(value)
        except self._error as error:
            raise DataError(f'{self.where(index)}: cannot be read ({error})') from error

    def read_labels(self) -> SourceLabels | None:
        return None

    def close(self) -> None:
        self._database.close()
