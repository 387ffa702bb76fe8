"""Atomic writing of a new data set: a zip or a folder that is complete or absent."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from dnnlib.errors import ConfigError
from dnnlib.files import TMP_MARK, fsync_path, remove


class Write(Protocol):
    """Writer of the files of a data set."""

    def __call__(self, name: str, data: bytes, origin: str = '') -> None:
        """Writes a file.

        Args:
            name: Name inside the data set.
            data: Contents of the file.
            origin: Name of the picture of which it was made.
        """


_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # fixed, so that the same pictures give the same bytes
_UNIX = 3  # value of create_system in zipfile


def check_dest(dest: str) -> None:
    """Raises ConfigError when the destination exists already and is not an empty folder."""
    if dest.lower().endswith('.zip'):
        if os.path.lexists(dest):
            raise ConfigError(f'--dest={dest}: exists already; remove it or give another name')
    elif os.path.lexists(dest) and not (os.path.isdir(dest) and not os.listdir(dest)):
        raise ConfigError(f'--dest={dest}: must be a new .zip, or a folder that is new or empty')


@contextlib.contextmanager
def open_writer(dest: str) -> Iterator[Write]:
    """Yields write(name, data, origin). The data set appears under its name at the end, or after any error not at all.

    A failure to write (disk full, no permission) raises a ConfigError that names --dest.
    """
    path = Path(dest).absolute()
    temp = path.with_name(f'{path.name}{TMP_MARK}{os.getpid()}')
    made = _missing_parents(path)
    try:
        with _disk_errors(dest):
            path.parent.mkdir(parents=True, exist_ok=True)
        with (_zip_writer if path.suffix.lower() == '.zip' else _folder_writer)(temp, dest) as write:
            yield write
        check_dest(dest)  # again, because hours may have passed
        with _disk_errors(dest):
            if path.is_dir():
                path.rmdir()  # empty, see check_dest
            os.rename(temp, path)
            fsync_path(path.parent)
    except BaseException:
        # Files that cannot be removed have a temporary name; the first error is the one to report.
        with contextlib.suppress(OSError):
            remove(temp)
            for folder in made:
                folder.rmdir()
        raise


@contextlib.contextmanager
def _zip_writer(path: Path, dest: str) -> Iterator[Write]:
    """Yields a writer of uncompressed entries, which are read by a seek, with one fixed time and mode.

    The comment of an entry is the name of its picture in the source; a folder has no place for that.
    """

    def write(name: str, data: bytes, origin: str = '') -> None:
        info = zipfile.ZipInfo(name, _ZIP_TIME)
        info.create_system = _UNIX  # the same on every system
        info.external_attr = 0o644 << 16
        info.comment = origin.encode('utf-8', 'replace')
        with _disk_errors(dest):
            archive.writestr(info, data)

    with contextlib.ExitStack() as stack:
        with _disk_errors(dest):
            file = stack.enter_context(path.open('xb'))
        archive = zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED)
        try:
            yield write
        except BaseException:
            # Neither the index nor buffered data are written: the disk may be full, and the file will be removed.
            archive.fp = None
            with contextlib.suppress(OSError):
                file.close()
            raise
        with _disk_errors(dest):
            archive.close()
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def _folder_writer(path: Path, dest: str) -> Iterator[Write]:
    """Yields a writer of files in a folder."""

    def write(name: str, data: bytes, origin: str = '') -> None:
        with _disk_errors(dest):
            file = path / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(data)

    with _disk_errors(dest):
        path.mkdir()
    yield write
    if hasattr(os, 'sync'):
        os.sync()  # all files at once: one flush per file would take longer than the conversion


@contextlib.contextmanager
def _disk_errors(dest: str) -> Iterator[None]:
    """Turns an error of the file system into a ConfigError of one sentence."""
    try:
        yield
    except OSError as error:
        fault = error.strerror or str(error)
        raise ConfigError(
            f'--dest={dest}: cannot be written ({fault}); free some space or give another place'
        ) from error


def _missing_parents(path: Path) -> list[Path]:
    """Returns the parent folders of a path that do not exist, the innermost first."""
    return [folder for folder in path.parents if not folder.exists()]
