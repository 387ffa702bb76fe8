"""Opening a file that somebody else named: regular files only, without waiting."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

from dnnlib.errors import FileError
from dnnlib.printable import printable

_KINDS = (
    (stat.S_ISDIR, 'a folder'),
    (stat.S_ISFIFO, 'a named pipe'),
    (stat.S_ISSOCK, 'a socket'),
    (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'),
)


def open_regular(path: str | Path) -> io.BufferedReader:
    """Opens a regular file for reading; a link to one is followed.

    A plain `open` waits without an end for the writer of a named pipe, and reads a device without an end. A reader of
    another library that takes a path instead of a file is preceded by `check_regular`.

    Raises:
        FileError: If the path is absent or cannot be opened, or if it is a folder, a pipe, a socket, a device or an
            endless link. It is also an OSError with `errno`, so that callers that handle those handle it, too.
    """
    flags = os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0) | getattr(os, 'O_NOCTTY', 0)
    try:
        if os.name == 'nt' and os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        handle = os.open(path, flags | getattr(os, 'O_CLOEXEC', 0))
    except ValueError:  # a NUL in the name
        raise FileError(path, errno.EINVAL, 'not the name of a file') from None
    except OSError as error:
        raise FileError(path, error.errno, _reason(path, error)) from None
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode):
        os.close(handle)
        number = errno.EISDIR if stat.S_ISDIR(facts.st_mode) else errno.EINVAL
        raise FileError(path, number, f'{_kind(facts.st_mode)}; expected a file')
    if hasattr(os, 'set_blocking'):
        os.set_blocking(handle, True)
    return os.fdopen(handle, 'rb')


def check_regular(path: str | Path) -> None:
    """Raises FileError, as `open_regular` does, unless a path is a regular file that can be opened."""
    open_regular(path).close()


def read_regular(path: str | Path, limit: int) -> bytes:
    """Returns the bytes of a regular file of at most `limit` bytes. Raises FileError that names the file."""
    try:
        with open_regular(path) as file:
            data = file.read(limit + 1)
    except FileError:
        raise
    except OSError as error:
        raise FileError(path, error.errno, f'cannot be read ({error.strerror or error})') from None
    if len(data) > limit:
        raise FileError(path, errno.EFBIG, f'larger than {limit} bytes, the limit for such a file')
    return data


def _kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), 'not a regular file')


def _reason(path: str | Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return 'a link to nothing' if os.path.islink(path) else 'no such file'
    if error.errno == errno.ELOOP:
        return 'a link that leads to itself'
    if error.errno == errno.ENXIO:  # a socket
        return 'a socket; expected a file'
    return f'cannot be opened ({printable(error.strerror or str(error))})'
