"""Errors for users: they name the option, file or image at fault, what was expected, and the way out.

The commands print the message of a `UserError` as one line and exit with code 2. Every other exception is a bug and
keeps its traceback.
"""

from __future__ import annotations

import os
from typing import Any

from dnnlib.printable import printable


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or the name of its type if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class UserError(ValueError):
    """A mistake of the user; the message says what is wrong and how to correct it."""


class ConfigError(UserError):
    """An option or a config field with a value that cannot work."""


class DownloadError(UserError):
    """A file that cannot be downloaded or is not the expected one."""


class DataError(UserError):
    """A data set, an image or a label that cannot be used."""


class CheckpointError(UserError):
    """A snapshot or a training state that is damaged, foreign or absent."""


class RecordError(CheckpointError):
    """A record in JSON (config.json, the header of a snapshot, a line of results) that is damaged or implausible."""


class ExportError(UserError):
    """A network that cannot be exported, or whose exported file draws other images."""


class FileError(UserError, OSError):
    """A file that somebody named and that is not a readable regular file.

    It is an OSError, too, with `errno`, `strerror` and `filename`, for callers that handle faults of disks.
    """

    def __init__(self, path: str | os.PathLike[str], number: int | None, reason: str) -> None:
        """Keeps the path, the error number of the system, and a reason in words that ends the message."""
        OSError.__init__(self, number or 0, reason, os.fspath(path))

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns the arguments, so that the error passes from one process to another."""
        return type(self), (self.filename, self.errno, self.strerror)

    def __str__(self) -> str:
        """Returns the message, in one line."""
        return f'{printable(str(self.filename))}: {self.strerror}'


class UnsafeModelFile(CheckpointError):
    """A pickle that is damaged, costs too much to read, or asks for more than reading data needs."""
