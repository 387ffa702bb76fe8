"""Files that are complete or absent: atomic writes, unique folders, a lock that names its holder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dnnlib.errors import ConfigError
from dnnlib.records import read_records
from dnnlib.regular_file import open_regular

TMP_MARK = '.tmp-'


def fsync_path(path: Path) -> None:
    """Flushes a file or a folder to the disk."""
    if os.name == 'nt' and path.is_dir():
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it is flushed and renamed to `path`, else removed.

    A reader sees the old file or the new one, never a part, even if the writer is killed.
    """
    tmp = path.with_name(f'{path.name}{TMP_MARK}{os.getpid()}')
    try:
        yield tmp
        os.chmod(tmp, 0o666 & ~_umask())  # safetensors makes files that are readable by their owner only
        fsync_path(tmp)
        os.replace(tmp, path)
        fsync_path(path.parent)
    finally:
        remove(tmp)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file atomically."""
    with atomic_path(path) as tmp:
        tmp.write_bytes(data)


def write_json(path: Path, data: Any) -> None:
    """Writes JSON atomically, indented, keys in the given order."""
    write_bytes(path, (json.dumps(data, indent=2) + '\n').encode())


def append_line(path: Path, line: str) -> None:
    """Appends a line in a single write. A kill leaves at most one partial line, which the next call ends."""
    with path.open('a+b') as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
        cut = file.read(1) not in (b'', b'\n')
        file.write((b'\n' if cut else b'') + line.encode() + b'\n')


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Returns every object of a file of JSON lines, none if it is absent; other lines are passed over."""
    return [record.values for record in read_records(path, damaged=lambda error: None)]


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    """Replaces a file by JSON lines, atomically."""
    write_bytes(path, ''.join(json.dumps(record) + '\n' for record in records).encode())


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file's bytes, in hex. FileError, which is an OSError, if it cannot be opened."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def remove(path: Path) -> None:
    """Removes a file or a folder if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes temporary files that killed writers left."""
    for path in folder.glob(f'*{TMP_MARK}*'):
        remove(path)


def make_run_dir(parent: Path, desc: str) -> Path:
    """Makes `parent/NNNNN-desc` with the next free number; processes that start together take turns."""
    import fcntl  # imported here: Windows, which can draw and measure, has no fcntl

    try:
        parent.mkdir(parents=True, exist_ok=True)
        with (parent / '.lock').open('a') as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            taken = [int(m.group()) for p in parent.iterdir() if (m := re.match(r'\d+', p.name))]
            run_dir = parent / f'{max(taken, default=-1) + 1:05d}-{desc}'
            run_dir.mkdir()
            return run_dir
    except OSError as error:
        raise ConfigError(f'--outdir={parent}: cannot make a run folder there: {error.strerror}') from None


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds a lock file; raises ConfigError that names the holder. The kernel frees it when its holder dies."""
    import fcntl

    with path.open('a+') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise ConfigError(f'{path.parent}: another process trains in this folder: {file.read().strip()}') from None
        file.truncate(0)
        file.write(f'pid {os.getpid()} on {socket.gethostname()}')
        file.flush()
        yield
