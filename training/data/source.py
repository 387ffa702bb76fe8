"""Storage of the images of a data set: a folder or a zip, as a sorted list of names and their bytes.

The index is read once and kept as NumPy columns, so that worker processes share its pages instead of copying a Python
object per image. A zip is read through a handle that belongs to one process, every read is checked against the CRC in
the archive, and nothing is ever extracted.
"""

from __future__ import annotations

import abc
import errno
import os
import stat
import struct
import zipfile
import zlib
from typing import IO, Any

import numpy as np

from dnnlib.errors import DataError
from dnnlib.regular_file import open_regular
from training.data.listing import list_folder, list_zip
from training.data.names import LABELS_NAME, MAX_NAME_BYTES, decode_name, encode_names, is_labels, path_on_disk
from training.data.passed_over import PassedOver
from training.data.zip_index import LOCAL_HEADER_BYTES, MAX_FILE_BYTES, TOO_LARGE

_ENTRY = np.dtype([('offset', 'i8'), ('compressed', 'i8'), ('size', 'i8'), ('crc', 'u4'), ('method', 'u2')])


class ImageSource(abc.ABC):
    """A folder or a zip of images; `open_source` opens one."""

    path: str  # the one given by the user
    names: np.ndarray  # S [num_files], UTF-8: sorted paths inside the source, with `/`
    kind: str  # 'folder' or 'zip'
    passed_over: PassedOver  # files that are neither images nor labels
    labels_root: str  # folder of dataset.json, with a `/` at its end; '' is the root of the source

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Returns the path of file `index` inside the source."""
        return decode_name(self.names[index])

    def origin(self, index: int) -> str:
        """Returns the name of the picture that file `index` was made of, where dataset_tool.py recorded it."""
        return self.name(index)

    def label_names(self) -> list[str]:
        """Returns the paths of all files in the folder of dataset.json, as labels name them."""
        return [self.name(index).removeprefix(self.labels_root) for index in range(len(self))]

    @property
    def labels_where(self) -> str:
        """The name of dataset.json in messages."""
        return f'{self.path}: {self.labels_root}{LABELS_NAME}'

    @abc.abstractmethod
    def where(self, index: int) -> str:
        """Returns the name of the file in messages, which suffices to find it on disk."""

    @abc.abstractmethod
    def facts(self, index: int) -> bytes:
        """Returns what is known about the contents of file `index` without reading them. Raises DataError."""

    @abc.abstractmethod
    def read(self, index: int) -> bytes:
        """Returns the bytes of file `index`. Raises DataError, which names it, when it is missing or damaged."""

    @abc.abstractmethod
    def read_labels(self) -> bytes | None:
        """Returns the bytes of dataset.json, or None if there is none."""

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the file handle; the next read opens another."""


class FolderSource(ImageSource):
    """Images in a folder and its subfolders."""

    kind = 'folder'

    def __init__(self, path: str, names: list[str], passed_over: PassedOver, labels_root: str | None) -> None:
        """Takes the listed folder.

        Args:
            path: The folder.
            names: Names of the images.
            passed_over: Files that are not used.
            labels_root: Folder of dataset.json; None: there are no labels.
        """
        self.path = path
        self.names = encode_names(sorted(names))
        self.passed_over = passed_over
        self.labels_root = labels_root or ''
        self._has_labels = labels_root is not None

    def where(self, index: int) -> str:
        return os.path.join(self.path, self.name(index))

    def facts(self, index: int) -> bytes:
        """Returns the size."""
        try:
            return b'%d' % os.stat(path_on_disk(self.path, self.name(index))).st_size
        except OSError as error:
            raise DataError(f'{self.where(index)}: cannot be read ({error.strerror or error})') from error

    def read(self, index: int) -> bytes:
        return read_file(path_on_disk(self.path, self.name(index)), self.where(index))

    def read_labels(self) -> bytes | None:
        path = path_on_disk(self.path, self.labels_root + LABELS_NAME)
        return read_file(path, path) if self._has_labels and os.path.lexists(path) else None

    def close(self) -> None:
        """Closes nothing: a folder keeps no handle."""


class ZipSource(ImageSource):
    """Images in a zip, stored or deflated.

    Every process has a handle of its own: a handle that crosses a fork shares its position with the parent, so two
    readers would see each other's bytes. The class is not safe for several threads.
    """

    kind = 'zip'

    def __init__(
        self, path: str, entries: dict[str, zipfile.ZipInfo], passed_over: PassedOver, labels_root: str | None
    ) -> None:
        """Takes the listed zip.

        Args:
            path: The zip.
            entries: Entries to use by their names with `/`: images, and files called dataset.json.
            passed_over: Files that are not used.
            labels_root: Folder of dataset.json; None: there are no labels.
        """
        self.path = path
        self._file: IO[bytes] | None = None
        self._pid = 0
        self._labels = None if labels_root is None else entries.get(labels_root + LABELS_NAME)
        names = sorted(name for name in entries if not is_labels(name))
        self.names = encode_names(names)
        self._origins = np.array([entries[name].comment[:MAX_NAME_BYTES] for name in names], dtype=np.bytes_)
        self.passed_over = passed_over
        self.labels_root = labels_root or ''
        self._entries = np.array([_columns(entries[name]) for name in names], dtype=_ENTRY)  # [num_files]

    def where(self, index: int) -> str:
        return f'{self.path}: {self.name(index)}'

    def origin(self, index: int) -> str:
        return decode_name(self._origins[index]) or self.name(index)

    def facts(self, index: int) -> bytes:
        """Returns size and CRC."""
        entry = self._entries[index]
        return b'%d %08x' % (entry['size'], entry['crc'])

    def read(self, index: int) -> bytes:
        return self._read_entry(self._entries[index], self.where(index))

    def read_labels(self) -> bytes | None:
        if self._labels is None:
            return None
        entry = np.array([_columns(self._labels)], dtype=_ENTRY)[0]
        return self._read_entry(entry, self.labels_where)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        # getattr, because __init__ may have raised before it set the handle.
        if getattr(self, '_file', None) is not None:
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_file': None}

    def _handle(self) -> IO[bytes]:
        """Returns the zip, opened by this process."""
        if self._pid != os.getpid():
            self.close()
            self._pid = os.getpid()
        if self._file is None:
            try:
                self._file = open_regular(self.path)  # kept, closed by close()
            except OSError as error:
                raise DataError(f'{self.path}: can no longer be opened ({error.strerror or error})') from error
        return self._file

    def _read_entry(self, entry: np.void, where: str) -> bytes:
        """Returns the bytes of one entry, decompressed and checked against their CRC."""
        file = self._handle()
        try:
            file.seek(int(entry['offset']))
            header = file.read(LOCAL_HEADER_BYTES)
            if len(header) < LOCAL_HEADER_BYTES or not header.startswith(b'PK\x03\x04'):
                raise DataError(f'{where}: is not where the index of the zip says; was the zip changed or cut short?')
            name_bytes, extra_bytes = struct.unpack('<HH', header[26:30])
            file.seek(name_bytes + extra_bytes, os.SEEK_CUR)
            data = file.read(int(entry['compressed']))
            if entry['method'] == zipfile.ZIP_DEFLATED:
                # One byte more than declared suffices to detect a wrong size.
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, int(entry['size']) + 1)
        except OSError as error:
            raise DataError(f'{where}: cannot be read ({error.strerror or error})') from error
        except zlib.error as error:
            raise DataError(f'{where}: is damaged ({error}); copy or make the zip again') from error
        if len(data) != entry['size'] or zlib.crc32(data) != entry['crc']:
            raise DataError(f'{where}: is damaged (its CRC does not match); copy or make the zip again')
        return data


def open_source(path: str, extensions: tuple[str, ...]) -> ImageSource:
    """Opens a folder or a zip of images and reads its index.

    Files with other extensions (lower-case, with the dot) are ignored. Raises DataError when the path does not exist,
    is not a zip, is unsafe, or holds no image.
    """
    source: ImageSource
    if is_folder(path):
        listing = list_folder(path, extensions)
        source = FolderSource(path, listing.images, listing.passed_over, listing.root())
    else:
        listing, entries = list_zip(path, extensions)
        source = ZipSource(path, entries, listing.passed_over, listing.root())
    if len(source) == 0:
        found = f' ({source.passed_over.line()})' if source.passed_over else ''
        raise DataError(f'{path}: holds no images{found}; expected files ending in {" ".join(extensions)}')
    return source


def read_file(path: str, where: str) -> bytes:
    """Returns the bytes of a regular file. Raises DataError when it is missing, unreadable or too large."""
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise DataError(f'{where}: {TOO_LARGE}')
            return file.read()
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise DataError(f'{where}: is missing; was it moved or deleted while in use?') from error
        raise DataError(f'{where}: cannot be read ({error.strerror or error})') from error


def _columns(info: zipfile.ZipInfo) -> tuple[int, int, int, int, int]:
    """Returns one row of `_ENTRY`."""
    return info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type


def is_folder(path: str) -> bool:
    """Whether a source is a folder; otherwise it should be a zip. Raises DataError when the path does not exist."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError as error:
        raise DataError(absent(path)) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DataError(f'{path}: cannot be read ({getattr(error, "strerror", None) or error})') from error


def absent(path: str) -> str:
    """Returns the message that a path does not exist; a relative one is completed, for users in another folder."""
    looked_for = '' if os.path.isabs(path) else f' (looked for {os.path.abspath(path)})'
    return f'{path}: no such file or folder{looked_for}'
