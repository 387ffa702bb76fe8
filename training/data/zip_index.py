"""Index of a zip: its entries, read as data that somebody else made, and their faults."""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from dnnlib.errors import DataError
from dnnlib.regular_file import open_regular
from training.data.names import MAX_NAME_BYTES, is_too_long

MAX_FILE_BYTES = 256 * 2**20  # limit for one image, or one dataset.json
MAX_RATIO = 200  # limit of uncompressed to compressed size; honest images stay far below
TOO_LARGE = f'is larger than {MAX_FILE_BYTES >> 20} MB, the most that one file may have'
LOCAL_HEADER_BYTES = 30  # APPNOTE.TXT 4.3.7: fixed part, then the name and the extra field
ZIP_BOMB = f'grows more than {MAX_RATIO} times when unpacked, as zip bombs do'
LONG_NAME = f'has a name of more than {MAX_NAME_BYTES:,} bytes'


@dataclass(frozen=True, slots=True)
class ZipIndex:
    """The central directory of a zip."""

    entries: list[zipfile.ZipInfo]
    file_bytes: int  # size of the zip


def read_index(path: str) -> ZipIndex:
    """Returns the central directory of a zip. Raises DataError if there is none."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return ZipIndex(archive.infolist(), os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error.strerror or error})') from error
    # zipfile does not catch the errors of the modules it uses when the index is garbage.
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error) as error:
        message = (
            f'{path}: is neither a folder nor a zip file, or the zip is cut short ({error}); copy or make it again'
        )
        raise DataError(message) from error


def entry_name(info: zipfile.ZipInfo) -> str:
    """Returns the path of an entry, with `/`, as stored: zipfile itself cuts names at a NUL."""
    return info.orig_filename.replace('\\', '/')


def entry_faults(info: zipfile.ZipInfo, file_bytes: int) -> Iterator[tuple[str, str]]:
    """Yields the unsafe or unsupported properties of an entry as (kind, description); none for a sound entry.

    Args:
        info: The entry.
        file_bytes: Size of the zip.
    """
    name = entry_name(info)
    if is_too_long(name):
        yield 'unsafe-path', LONG_NAME
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
    if info.header_offset < 0 or info.header_offset + LOCAL_HEADER_BYTES + info.compress_size > file_bytes:
        yield 'outside', 'is not within the zip: its index states a wrong place or size'
