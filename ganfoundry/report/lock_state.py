"""Whether a process trains in a run folder, found out without taking its lock."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from dnnlib.errors import FileError
from dnnlib.regular_file import read_regular

LOCKS = Path('/proc/locks')  # of Linux: every lock of this machine
MAX_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class LockState:
    """Holder of a lock file.

    Attributes:
        held: Whether a process of this machine holds the lock; None if that cannot be known.
        host: Name of the machine whose process wrote the file, '' if it names none.
    """

    held: bool | None
    host: str = ''


def lock_state(path: Path) -> LockState:
    """Returns the holder of a lock file that `dnnlib.folders.exclusive` makes. Reads, and locks nothing."""
    try:
        text = read_regular(path, MAX_BYTES).decode('utf-8', 'replace')
        facts = os.stat(path)
    except (FileError, OSError):
        return LockState(held=False)
    found = re.fullmatch(r'pid (\d{1,10}) on (\S+)\s*', text)
    pid, host = (int(found[1]), found[2]) if found else (0, '')
    if host and host != socket.gethostname():
        return LockState(held=None, host=host)
    try:
        locks = LOCKS.read_text()
    except OSError:  # no Linux
        return LockState(held=None if pid and psutil.pid_exists(pid) else False, host=host)
    return LockState(held=_holds(locks, facts, pid), host=host)


def _holds(locks: str, facts: os.stat_result, pid: int) -> bool:
    """Whether /proc/locks has a lock of a file: its inode, and its device or the process that the file names.

    Some file systems report another device there than `stat` does.
    """
    device = f'{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}'
    for line in locks.splitlines():
        words = line.split()
        if len(words) < 6 or words[1] != 'FLOCK':
            continue
        owner, place = words[4], words[5].rpartition(':')
        if place[2] == str(facts.st_ino) and (place[0] == device or owner == str(pid)):
            return True
    return False
