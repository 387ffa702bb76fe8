"""Standard streams whose reader may go away: a closed pipe, a full disk or a lost terminal."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class _Lossy(io.FileIO):
    """A descriptor whose failed writes count as written."""

    def write(self, data: Any) -> int:
        """Writes what can be written, and returns the number of bytes of `data`."""
        num_bytes = memoryview(data).nbytes
        try:
            return super().write(data) or num_bytes  # None: a descriptor that does not block is full
        except OSError:
            return num_bytes


def open_missing() -> None:
    """Opens the null device on each closed one of the descriptors 0, 1 and 2.

    Otherwise the next file that is opened, such as a state, takes the number of stderr, and messages land in it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


@contextlib.contextmanager
def lossy_stderr() -> Iterator[None]:
    """Replaces stderr by one that drops what it cannot write, so that no message can end a command.

    A stderr that something else has replaced already, such as a test or a notebook, is left as it is.
    """
    before = sys.stderr
    if before is not sys.__stderr__:
        yield
        return
    if before is not None:
        with contextlib.suppress(OSError):
            before.flush()
    encoding = 'utf-8' if before is None else before.encoding
    raw = io.BufferedWriter(_Lossy(2, 'w', closefd=False))
    sys.stderr = io.TextIOWrapper(raw, encoding=encoding, errors='backslashreplace', line_buffering=True)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before


def drop_unwritable(stream: TextIO | None) -> OSError | None:
    """Flushes a stream that ends. If that fails, its descriptor becomes the null device, and the error is returned.

    The interpreter flushes stdout once more when it ends, and would replace the exit code by 120.
    """
    if stream is None or stream.closed:
        return None
    try:
        stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError), open(os.devnull, 'wb') as null:
            os.dup2(null.fileno(), stream.fileno())
        return error
    return None


def finish_stdout() -> str | None:
    """Ends stdout. Returns the reason if output was lost; '' if its reader has left, as `head` does."""
    error = drop_unwritable(sys.stdout)
    if error is None:
        return None
    return '' if error.errno == errno.EPIPE else str(error.strerror)
