"""Errors for users: they name the option, file or image at fault, what was expected, and the way out.

The commands print the message of a `UserError` as one line and exit with code 2. Every other exception is a bug and
keeps its traceback.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from dnnlib.printable import printable


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


def run_command(main: Callable[[], object]) -> None:
    """Runs a command; a UserError becomes one line on stderr and exit code 2.

    One of several processes (WORLD_SIZE) ends with `end_process`.
    """
    escape_names()
    several = int(os.environ.get('WORLD_SIZE', '1')) > 1
    try:
        main()
        code: str | int | None = 0
    except UserError as error:
        print_error(error)
        code = 2
    except SystemExit as ended:
        if not several:
            raise
        code = ended.code
    if several:
        end_process(code)
    if code:
        sys.exit(code)


def escape_names() -> None:
    r"""Makes stdout print `\xe4` for a character that the locale's encoding does not have, as stderr does.

    Names of files may hold bytes that no encoding decodes; printing them must not end a command.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')


def end_process(code: str | int | None) -> NoReturn:
    """Ends this process like `sys.exit(code)`, with exit handlers, without the interpreter's finalization.

    A thread of a collective may still hold the last reference to a tensor. If it asks for the interpreter's lock after
    finalization has begun, the process ends with SIGABRT, although its work is complete.
    """
    if isinstance(code, str):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def print_error(error: UserError) -> None:
    """Prints one line on stderr. In a run of several processes, all except the first add their rank (RANK)."""
    rank = os.environ.get('RANK', '0')
    who = '' if rank == '0' else f' (rank {rank})'
    print(f'Error{who}: {printable(" ".join(str(error).split()))}', file=sys.stderr)
