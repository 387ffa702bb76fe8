"""Folders that several processes use: unique names, one owner at a time, and the place of a folder that was renamed."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from dnnlib.errors import ConfigError

TURN_S = 60.0  # longest wait for a folder in which other processes make theirs; each takes milliseconds
MAX_TRIES = 100  # numbers that other processes may take meanwhile, on a file system without locks


def make_run_dir(parent: Path, desc: str) -> Path:
    """Makes `parent/NNNNN-desc` with the next free number; processes that start together take turns."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with _turn(parent):
            for _ in range(MAX_TRIES):
                taken = [int(m.group()) for p in parent.iterdir() if (m := re.match(r'\d+', p.name))]
                run_dir = parent / f'{max(taken, default=-1) + 1:05d}-{desc}'
                with contextlib.suppress(FileExistsError):
                    run_dir.mkdir()
                    return run_dir
    except OSError as error:
        raise ConfigError(f'--outdir={parent}: cannot make a run folder there: {error.strerror}') from None
    raise ConfigError(f'--outdir={parent}: other processes take every number of a run folder; name another --outdir')


@contextlib.contextmanager
def _turn(parent: Path) -> Iterator[None]:
    """Holds the folder itself, which nobody deletes as they would a lock file. Raises ConfigError after `TURN_S`."""
    with _opened(parent, os.O_RDONLY) as handle:
        until = time.monotonic() + TURN_S
        while _lock(handle) is False:
            if time.monotonic() > until:
                raise ConfigError(
                    f'--outdir={parent}: another process has held this folder for {TURN_S:.0f} s; it is a run folder '
                    f'in which a run trains, or a process is stopped; name another --outdir'
                )
            time.sleep(0.05)
        yield


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Holds a lock file; yields False if another process holds it, True also on a file system without locks.

    Raises OSError if the file cannot be made.
    """
    with _opened(path, os.O_RDWR | os.O_CREAT) as file:
        yield _lock(file) is not False


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Holds a lock file and the folder that it is in; the kernel frees both when their holder dies.

    The file names the holder. The lock of the folder outlives a removal of the file.

    Args:
        path: The lock file.

    Yields:
        Whether the file system has locks.

    Raises:
        ConfigError: If another process holds one of the two, or if the file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(_opened(path.parent, os.O_RDONLY))
            free = _lock(folder)  # before the file is made: a refused process leaves nothing behind
            file = None if free is False else stack.enter_context(_opened(path, os.O_RDWR | os.O_CREAT))
        except OSError as error:
            raise ConfigError(
                f'{path.parent}: cannot be written to ({error.strerror}), so nothing could be saved there; copy the '
                f'folder to a disk that can be written, and name the copy'
            ) from None
        held = file is not None and _lock(file)
        if file is None or held is False:
            raise ConfigError(f'{path.parent}: another process trains in this folder: {_holder(path)}')
        with contextlib.suppress(OSError):  # the lock holds on a full disk, too, without the name
            os.truncate(file, 0)
            os.write(file, f'pid {os.getpid()} on {socket.gethostname()}'.encode())
        yield bool(held)


def _holder(path: Path) -> str:
    """Returns the text of a lock file, which names its holder."""
    with contextlib.suppress(OSError):
        if text := path.read_text(errors='replace').strip():
            return text
    return f'its {path.name}, which would name it, was removed'


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    handle = os.open(path, flags, 0o666)
    try:
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Locks a file or folder until it is closed. Returns False if another process holds it, None without locks."""
    import fcntl  # imported here: Windows, which can draw and measure, has no fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems lock nothing, some only files
        return None
    return True


class HeldFolder:
    """A folder that is held open, so that it is found again after it was renamed or moved on its disk."""

    def __init__(self, path: Path) -> None:
        """Opens the folder. Raises OSError."""
        self._path = path
        self._handle = os.open(path, os.O_RDONLY)

    @property
    def path(self) -> Path:
        """The present path; the last known one if the folder was removed or cannot be found."""
        if not self._is_at(self._path) and (found := _path_of(self._handle)) is not None and self._is_at(found):
            self._path = found
        return self._path

    def _is_at(self, path: Path) -> bool:
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._handle))
        except OSError:
            return False

    def close(self) -> None:
        """Closes the folder."""
        os.close(self._handle)


def _path_of(handle: int) -> Path | None:
    """Returns the path of an open folder, which Linux and macOS know; None elsewhere."""
    import fcntl

    try:
        if (name := getattr(fcntl, 'F_GETPATH', None)) is not None:
            return Path(os.fsdecode(fcntl.fcntl(handle, name, bytes(1024)).rstrip(b'\0')))
        return Path(os.readlink(f'/proc/self/fd/{handle}'))
    except OSError:
        return None
