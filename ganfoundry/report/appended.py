"""Files that grow at their end: each reading takes only what was appended since the one before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from dnnlib.errors import FileError, RecordError
from dnnlib.records import RESULTS, parse_record
from dnnlib.regular_file import open_regular

MARK_BYTES = 64  # bytes before the position that are compared, so that a file that was written again is noticed
MAX_LINE_BYTES = 16 << 20


class AppendedLines:
    """Lines of a file that another process appends to, that it may replace by another file, and that may end anywhere.

    Args:
        path: The file, which may be absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._mark = b''
        self._known: tuple[int, int, int] | None = None  # device, inode, size at the last reading

    def changed(self) -> bool:
        """Whether the file is another than at the last reading, by its size or its identity."""
        return self._stat() != self._known

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.path)
        except (OSError, ValueError):
            return None
        return found.st_dev, found.st_ino, found.st_size

    def read(self) -> tuple[bool, Iterator[bytes]]:
        """Returns whether the file begins anew, so that earlier lines are void, and an iterator over the new lines.

        The iterator must be exhausted before the next reading. Lines have their line breaks. The last one may lack it
        if it is a whole record in JSON; any other such line is a part, and waits for its rest. Lines of more than
        16 MiB are passed over.
        """
        known, self._known = self._known, self._stat()
        restarted = self._position > 0 and not self._continues(known)
        if restarted:
            self._position, self._mark = 0, b''
        return restarted, self._lines()

    def _continues(self, known: tuple[int, int, int] | None) -> bool:
        """Whether the file still holds what was read, as far as its identity, size and last bytes say."""
        now = self._known
        if known is None or now is None or now[:2] != known[:2] or now[2] < self._position:
            return False
        try:
            with open_regular(self.path) as file:
                file.seek(self._position - len(self._mark))
                return file.read(len(self._mark)) == self._mark
        except (FileError, OSError):
            return False

    def _lines(self) -> Iterator[bytes]:
        try:
            with open_regular(self.path) as file:
                file.seek(self._position)
                while line := file.readline(MAX_LINE_BYTES):
                    if not line.endswith(b'\n'):
                        if len(line) == MAX_LINE_BYTES:
                            self._advance(line)
                            continue
                        if not _is_record(line):
                            return
                    self._advance(line)
                    yield line
        except (FileError, OSError):
            return

    def _advance(self, line: bytes) -> None:
        self._position += len(line)
        self._mark = (self._mark + line[-MARK_BYTES:])[-MARK_BYTES:]


def _is_record(line: bytes) -> bool:
    """Whether a line is one object in JSON."""
    try:
        parse_record(line, '', RESULTS)
    except RecordError:
        return False
    return True
