"""Files that are complete or absent: atomic writes, lines of JSON, digests, removal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
        with contextlib.suppress(OSError):  # a leftover that stays harms nobody
            remove(path)
