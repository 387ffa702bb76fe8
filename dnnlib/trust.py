"""Whether somebody else can have put, or can replace, a file whose code is about to run in this process."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from dnnlib.printable import printable

MAX_LINKS = 40  # the kernel's limit


def distrust(path: Path) -> str | None:
    """Returns why code at a path is not to be run, in words that follow its name; None if there is no reason.

    The path, every folder up to the root, and every link on the way belong to this user or to root, and nobody else may
    write there. A folder above may be sticky, as /tmp is: what others put there cannot replace what this user has. The
    folder that holds the file may not: others could add files to it. What does not exist yet is not judged.

    The owner of / counts as root. In a container of an ordinary user, the files of the real root have an owner without
    a name there, and so have the files of all other users; who they are does not show from the inside.
    """
    trusted = {0, os.geteuid(), os.stat('/').st_uid}
    try:
        found = list(_on_the_way(Path(os.path.abspath(path))))
    except OSError as error:
        return f'cannot be examined ({error.strerror})'
    last = Path(os.path.realpath(path))
    holds = last if last.is_dir() else last.parent if last.exists() else None
    for place, facts in found:
        name = '' if place == path else f'{printable(str(place))} '
        if facts.st_uid not in trusted:
            return f'{name}belongs to another user (uid {facts.st_uid})'
        if stat.S_ISLNK(facts.st_mode) or not facts.st_mode & 0o022:
            continue
        if place == holds or stat.S_ISREG(facts.st_mode) or not facts.st_mode & stat.S_ISVTX:
            return f'{name}may be written by others (chmod go-w)'
    return None


def _on_the_way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yields every folder, link and file that the kernel visits on the way to an absolute path, up to the first gap."""
    place, todo, num_links = Path('/'), deque(path.parts[1:]), 0
    yield place, os.lstat(place)
    while todo:
        part = todo.popleft()
        if part == '..':
            place = place.parent
            continue
        try:
            facts = os.lstat(place / part)
        except (FileNotFoundError, NotADirectoryError):
            return
        yield place / part, facts
        if not stat.S_ISLNK(facts.st_mode):
            place = place / part
            continue
        num_links += 1
        if num_links > MAX_LINKS:
            raise OSError(errno.ELOOP, 'a link that leads to itself')
        target = Path(os.readlink(place / part))
        if target.is_absolute():
            place = Path('/')
        todo.extendleft(reversed(target.parts[target.is_absolute() :]))
