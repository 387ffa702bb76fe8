"""Pictures in a tar, compressed by gzip or not, read without unpacking to disk."""

from __future__ import annotations

import functools
import gzip
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable
from typing import IO, NamedTuple

from dnnlib.errors import DataError
from dnnlib.regular_file import open_regular
from training.data.convert.decode import SOURCE_EXTENSIONS
from training.data.convert.labels import labels_of_json
from training.data.convert.source import NamedPictures, SourceLabels
from training.data.listing import Listing
from training.data.names import LABELS_NAME, is_too_long, normal_name, summarize_names
from training.data.zip_index import LONG_NAME, MAX_FILE_BYTES, MAX_RATIO, TOO_LARGE, ZIP_BOMB

# Errors of reading a file that is not an intact tar. tarfile calls itself for each of several headers of one file.
_FAULTS = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError, RecursionError)


class BoundedReader:
    """A file, decompressed if it is gzip, with a limit per read and a limit of `MAX_RATIO` times its size in total.

    `tarfile` trusts the headers of a tar, which may claim any size.
    """

    def __init__(self, path: str) -> None:
        """Opens the file."""
        self._path = path
        self._raw: IO[bytes] = open_regular(path)  # kept, closed by close()
        self._is_gzip = self._raw.read(2) == b'\x1f\x8b'
        self._raw.seek(0)
        self._file: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=self._raw) if self._is_gzip else self._raw
        self._end = os.fstat(self._raw.fileno()).st_size * (MAX_RATIO if self._is_gzip else 1)

    def read(self, size: int = -1) -> bytes:
        """Reads bytes; a size is required. Raises DataError for more than one picture may have."""
        if not 0 <= size <= MAX_FILE_BYTES:
            raise DataError(f'{self._path}: a header asks for {size} bytes at once; {MAX_FILE_BYTES} are the most')
        data = self._file.read(size)
        self._check(self._file.tell())
        return data

    def tell(self) -> int:
        """Returns the position in the decompressed file."""
        return self._file.tell()

    def seek(self, position: int) -> int:
        """Moves to a position in the decompressed file."""
        self._check(position)
        return self._file.seek(position)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        self._raw.close()

    def _check(self, position: int) -> None:
        """Raises DataError for a position beyond the limit."""
        if position > self._end:
            lie = 'has a header that points beyond its end; copy or download it again'
            raise DataError(f'{self._path}: {ZIP_BOMB if self._is_gzip else lie}')


class Member(NamedTuple):
    """A plain file in a tar."""

    name: str
    offset: int  # position of its bytes in the decompressed tar
    size: int


def open_tar(path: str, special: Callable[[str], None] | None = None) -> tuple[BoundedReader, list[Member]]:
    """Opens a tar.

    Args:
        path: The tar.
        special: Callback that receives the name of everything that is neither a plain file nor a folder.

    Returns:
        The open tar and its plain files, in its order.

    Raises:
        DataError: It is damaged or unsafe.
    """
    try:
        reader = BoundedReader(path)
    except OSError as error:
        raise DataError(f'{path}: cannot be opened ({error.strerror or error})') from error
    try:
        return reader, _read_members(reader, path, special)
    except DataError:
        reader.close()
        raise
    except _FAULTS as error:
        reader.close()
        raise DataError(f'{path}: is not a tar, or is cut short ({error}); copy or download it again') from error


def read_member(reader: BoundedReader, member: Member, where: str) -> bytes:
    """Returns the bytes of one file in a tar.

    Args:
        reader: The open tar.
        member: The file.
        where: Name of the file in messages.

    Raises:
        DataError: The file is too large, damaged or cut short.
    """
    if member.size > MAX_FILE_BYTES:
        raise DataError(f'{where}: {TOO_LARGE}')
    try:
        reader.seek(member.offset)
        data = reader.read(member.size)
    except DataError:
        raise
    except _FAULTS as error:
        raise DataError(f'{where}: cannot be read ({error}); copy or download the tar again') from error
    if len(data) < member.size:
        raise DataError(f'{where}: is cut short; copy or download the tar again')
    return data


def _read_members(reader: BoundedReader, path: str, special: Callable[[str], None] | None) -> list[Member]:
    """Lists the plain files of a tar.

    Args:
        reader: The open tar.
        path: The tar.
        special: Callback that receives the names of links, devices and sparse files.

    Raises:
        DataError: Two files have the same name, or a name is too long.
    """
    found: list[Member] = []
    with tarfile.open(fileobj=reader, mode='r:') as archive:  # type: ignore[call-overload]
        while (info := archive.next()) is not None:
            archive.members = []  # otherwise tarfile keeps every header, one kilobyte each
            if is_too_long(info.name):
                raise DataError(f'{path}: {info.name[:80]}...: {LONG_NAME}; make the tar again')
            if info.isreg() and not info.issparse():
                # Nothing is written to that path, so one that leads out of the tar is only an odd name.
                found.append(Member(normal_name(info.name), info.offset_data, info.size))
            elif special is not None and not info.isdir():
                special(info.name)
    twice = [name for name, count in Counter(member.name for member in found).items() if count > 1]
    if twice:
        raise DataError(f'{path}: holds files of the same name ({summarize_names(twice)}); make the tar again')
    return found


class TarSource(NamedPictures):
    """A PictureSource in the order of the tar, because a compressed one can only be read forward."""

    def __init__(self, path: str) -> None:
        self.path = path
        listing = Listing(extensions=SOURCE_EXTENSIONS)
        self.passed_over = listing.passed_over
        self._reader, members = open_tar(path, functools.partial(listing.add_special, 'special'))
        used = [member for member in members if listing.add(member.name)]
        self._root = listing.root()
        by_name = {member.name: member for member in used}
        self._labels = None if self._root is None else by_name[self._root + LABELS_NAME]
        self._pictures = [by_name[name] for name in listing.images]

    def __len__(self) -> int:
        return len(self._pictures)

    def name(self, index: int) -> str:
        return self._pictures[index].name

    def where(self, index: int) -> str:
        return f'{self.path}: {self._pictures[index].name}'

    def read(self, index: int) -> bytes:
        return read_member(self._reader, self._pictures[index], self.where(index))

    def read_labels(self) -> SourceLabels | None:
        if self._labels is None or self._root is None:
            return None
        where = f'{self.path}: {self._labels.name}'
        names = [member.name.removeprefix(self._root) for member in self._pictures]
        return labels_of_json(read_member(self._reader, self._labels, where), names, where)

    def close(self) -> None:
        self._reader.close()
