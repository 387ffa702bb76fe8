"""Storage of the images of a data set: a folder or a zip, as a sorted list of names and their bytes.

The index is read once and kept as NumPy columns, so that worker processes share its pages instead of copying a Python
object per image. A zip is read through a handle that belongs to one process, every read is checked against the CRC in
the archive, and nothing is ever extracted.
"""

from __future__ import annotations

import abc
import os
import pathlib
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np

from dnnlib.errors import DataError

LABELS_NAME = 'dataset.json'
MAX_FILE_BYTES = 256 * 2**20  # limit for one image, or one dataset.json
MAX_RATIO = 200  # limit of uncompressed to compressed size; honest images stay far below
TOO_LARGE = f'is larger than {MAX_FILE_BYTES >> 20} MB, the most that one file may have'
LOCAL_HEADER_BYTES = 30  # APPNOTE.TXT 4.3.7: fixed part, then the name and the extra field
ZIP_BOMB = f'grows more than {MAX_RATIO} times when unpacked, as zip bombs do'

_ENTRY = np.dtype([('offset', 'i8'), ('compressed', 'i8'), ('size', 'i8'), ('crc', 'u4'), ('method', 'u2')])


class ImageSource(abc.ABC):
    """A folder or a zip of images; `open_source` opens one."""

    path: str  # the one given by the user
    names: np.ndarray  # S [num_files], UTF-8: sorted paths inside the source, with `/`

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Returns the path of file `index` inside the source."""
        return decode_name(self.names[index])

    @abc.abstractmethod
    def where(self, index: int) -> str:
        """Returns the name of the file in messages, which suffices to find it on disk."""

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

    def __init__(self, path: str, names: list[str]) -> None:
        self.path = path
        self.names = encode_names(sorted(names))

    def where(self, index: int) -> str:
        return os.path.join(self.path, self.name(index))

    def read(self, index: int) -> bytes:
        return self.read_file(self.where(index))

    def read_labels(self) -> bytes | None:
        path = os.path.join(self.path, LABELS_NAME)
        return self.read_file(path) if os.path.lexists(path) else None

    def close(self) -> None:
        """Closes nothing: a folder keeps no handle."""

    @staticmethod
    def read_file(path: str) -> bytes:
        """Returns the bytes of a file. Raises DataError when it is missing, unreadable or too large."""
        try:
            size = os.stat(path).st_size
            if size > MAX_FILE_BYTES:
                raise DataError(f'{path}: {TOO_LARGE}')
            with open(path, 'rb') as file:
                return file.read()
        except FileNotFoundError as error:
            raise DataError(f'{path}: is missing; was it moved or deleted while in use?') from error
        except OSError as error:
            raise DataError(f'{path}: cannot be read ({error.strerror or error})') from error


class ZipSource(ImageSource):
    """Images in a zip, stored or deflated.

    Every process has a handle of its own: a handle that crosses a fork shares its position with the parent, so two
    readers would see each other's bytes. The class is not safe for several threads.
    """

    def __init__(self, path: str, entries: dict[str, zipfile.ZipInfo]) -> None:
        """Takes the entries to use by their names with `/`, including dataset.json if there is one."""
        self.path = path
        self._file: IO[bytes] | None = None
        self._pid = 0
        self._labels = entries.get(LABELS_NAME)
        names = sorted(name for name in entries if name != LABELS_NAME)
        self.names = encode_names(names)
        self._entries = np.array([_columns(entries[name]) for name in names], dtype=_ENTRY)  # [num_files]

    def where(self, index: int) -> str:
        return f'{self.path}: {self.name(index)}'

    def read(self, index: int) -> bytes:
        return self._read_entry(self._entries[index], self.where(index))

    def read_labels(self) -> bytes | None:
        if self._labels is None:
            return None
        entry = np.array([_columns(self._labels)], dtype=_ENTRY)[0]
        return self._read_entry(entry, f'{self.path}: {LABELS_NAME}')

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
                self._file = open(self.path, 'rb')  # noqa: SIM115 - kept, closed by close()
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
        source = FolderSource(path, _list_folder(path, extensions))
    else:
        source = ZipSource(path, _list_zip(path, extensions))
    if len(source) == 0:
        raise DataError(f'{path}: holds no images; expected files ending in {" ".join(extensions)}')
    return source


def is_folder(path: str) -> bool:
    """Whether a source is a folder; otherwise it should be a zip. Raises DataError when the path does not exist."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        raise DataError(absent(path)) from error


def absent(path: str) -> str:
    """Returns the message that a path does not exist; a relative one is completed, for users in another folder."""
    looked_for = '' if os.path.isabs(path) else f' (looked for {os.path.abspath(path)})'
    return f'{path}: no such file or folder{looked_for}'


def is_image(name: str, extensions: tuple[str, ...]) -> bool:
    """Whether a path inside a source is an image. Hidden files (macOS writes ._a.png, __MACOSX/) are not."""
    if not name.lower().endswith(extensions):
        return False
    hidden = (part == '__MACOSX' or (part.startswith('.') and part not in ('.', '..')) for part in name.split('/'))
    return not any(hidden)


def encode_names(names: list[str]) -> np.ndarray:
    """Returns names as one array of UTF-8 bytes [n]: without an object per name, forked workers share the memory."""
    return np.array([name.encode('utf-8', 'surrogateescape') for name in names], dtype=np.bytes_)


def decode_name(name: bytes) -> str:
    """Inverts `encode_names` for one name; bytes that are not UTF-8 return in the form of the file system."""
    return bytes(name).decode('utf-8', 'surrogateescape')


def summarize_names(names: Iterable[str]) -> str:
    """Returns the first three names and the number of others, for messages: `a, b, c and 4 more`."""
    names = list(names)
    rest = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + rest


def _list_folder(path: str, extensions: tuple[str, ...]) -> list[str]:
    """Lists the images in a folder and its subfolders. Hidden files are ignored; links to folders are not followed."""
    root = pathlib.Path(path)
    found = (
        (pathlib.Path(folder) / file).relative_to(root).as_posix()
        for folder, _, files in os.walk(root, onerror=_raise_unreadable)
        for file in files
    )
    return [name for name in found if is_image(name, extensions)]


def _list_zip(path: str, extensions: tuple[str, ...]) -> dict[str, zipfile.ZipInfo]:
    """Returns the entries of all images in a zip, and of dataset.json, by name. Raises at the first unsafe one."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in read_index(path):
        name = entry_name(info)
        if name != LABELS_NAME and not is_image(name, extensions):
            continue
        for _, fault in entry_faults(info):
            raise DataError(f'{path}: {name}: {fault}; make the zip again with dataset_tool.py')
        if name in entries:
            raise DataError(f'{path}: {name}: is in the zip more than once; make the zip again')
        entries[name] = info
    return entries


def read_index(path: str) -> list[zipfile.ZipInfo]:
    """Returns the central directory of a zip. Raises DataError if there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error.strerror or error})') from error
    # zipfile does not catch the errors of the modules it uses when the index is garbage.
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        message = (
            f'{path}: is neither a folder nor a zip file, or the zip is cut short ({error}); copy or make it again'
        )
        raise DataError(message) from error


def _columns(info: zipfile.ZipInfo) -> tuple[int, int, int, int, int]:
    """Returns one row of `_ENTRY`."""
    return info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type


def entry_name(info: zipfile.ZipInfo) -> str:
    """Returns the path of an entry, with `/`, as stored: zipfile itself cuts names at a NUL."""
    return info.orig_filename.replace('\\', '/')


def entry_faults(info: zipfile.ZipInfo) -> Iterator[tuple[str, str]]:
    """Yields the unsafe or unsupported properties of an entry as (kind, description); none for a sound entry."""
    name = entry_name(info)
    if '..' in name.split('/') or name.startswith('/') or re.match('[A-Za-z]:', name):
        yield 'unsafe-path', 'has a path that leads out of the zip'
    if '\0' in name:
        yield 'unsafe-path', 'has a NUL in its name'
    if stat.S_ISLNK(info.external_attr >> 16):
        yield 'link', 'is a symbolic link'
    if info.flag_bits & 1:
        yield 'encrypted', 'is encrypted'
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield 'compression', f'has compression method {info.compress_type}; expected stored or deflated'
    if info.file_size > MAX_FILE_BYTES:
        yield 'too-large', TOO_LARGE
    if info.file_size > MAX_RATIO * info.compress_size:
        yield 'bomb', ZIP_BOMB


def _raise_unreadable(error: OSError) -> None:
    """Raises the DataError of a folder that cannot be listed."""
    raise DataError(f'{error.filename}: cannot be listed ({error.strerror})') from error
