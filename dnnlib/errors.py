"""Errors for users: they name the option, file or image at fault, what was expected, and the way out.

The commands print the message of a `UserError` as one line and exit with code 2. Every other exception is a bug and
keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


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


class UnsafeModelFile(CheckpointError):
    """A pickle that is damaged, costs too much to read, or asks for more than reading data needs."""


def run_command(main: Callable[[], object]) -> None:
    """Runs a command; a UserError becomes one line on stderr and exit code 2."""
    try:
        main()
    except UserError as error:
        print_error(error)
        sys.exit(2)


def print_error(error: UserError) -> None:
    """Prints one line on stderr. In a run of several processes, all except the first add their rank (RANK)."""
    rank = os.environ.get('RANK', '0')
    who = '' if rank == '0' else f' (rank {rank})'
    print(f'Error{who}: {" ".join(str(error).split())}', file=sys.stderr)
