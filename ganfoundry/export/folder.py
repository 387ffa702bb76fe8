"""The folder of an export: complete or absent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dnnlib import files
from dnnlib.errors import ConfigError


def check_free(out: Path) -> None:
    """Raises ConfigError unless `out` is a new or an empty folder."""
    try:
        if not out.exists():
            return
        if not out.is_dir():
            raise ConfigError(f'--out={out}: is a file; name a new folder')
        if any(out.iterdir()):
            raise ConfigError(f'--out={out}: exists and is not empty; name a new folder')
    except OSError as error:
        raise ConfigError(f'--out={out}: cannot be read: {error.strerror}') from None


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yields a temporary folder next to `out`; on success it is renamed to `out`, else nothing is left.

    Args:
        out: A new or empty folder; folders above it that do not exist are made.

    Raises:
        ConfigError: If it cannot be made.
    """
    absent = [folder for folder in out.parents if not folder.exists()]
    temporary = out.with_name(f'{out.name}{files.TMP_MARK}{os.getpid()}')
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        _remove_empty(absent)
        raise ConfigError(f'--out={out}: cannot be made: {error.strerror}') from None
    try:
        yield temporary
        check_free(out)  # again: an export takes minutes
        if out.exists():
            out.rmdir()
        os.replace(temporary, out)
    except BaseException:  # Ctrl-C, too
        files.remove(temporary)
        _remove_empty(absent)
        raise
    files.fsync_path(out.parent)


def _remove_empty(folders: Iterable[Path]) -> None:
    """Removes folders that are empty, the innermost first; others are in use by now."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
