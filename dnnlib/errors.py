"""Errors that speak to people: the option, file or image at fault, what was expected, the way out.

The command lines print the message of a `UserError` as one line and exit with code 2. Everything else is a bug and
keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Something a user did, or gave, that cannot work; the message says what and how to mend it."""


class ConfigError(UserError):
    """An option or a config field with a value that cannot work."""


class DownloadError(UserError):
    """A file that cannot be had from the network, or is not what it should be."""


class DataError(UserError):
    """A data set, an image or a label that cannot be used."""


class CheckpointError(UserError):
    """A snapshot or a training state that is damaged, foreign or absent."""


class UnsafeModelFile(CheckpointError):
    """A pickle that is damaged, costs too much to read, or asks for what reading data does not need."""


def run_command(main: Callable[[], object]) -> None:
    """Runs a command line: a UserError becomes one line on stderr and exit code 2."""
    try:
        main()
    except UserError as error:
        print_error(error)
        sys.exit(2)


def print_error(error: UserError) -> None:
    """One line on stderr. Of several processes (torchrun numbers them in RANK), all but the first say who they are."""
    rank = os.environ.get('RANK', '0')
    who = '' if rank == '0' else f' (rank {rank})'
    print(f'Error{who}: {" ".join(str(error).split())}', file=sys.stderr)
