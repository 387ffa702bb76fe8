"""Folders that hold built libraries. A library is code: none is loaded that somebody else can have put there."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dnnlib.log import shown
from dnnlib.paths import user_path
from dnnlib.regular_file import open_regular
from dnnlib.trust import distrust
from torch_utils.ops.toolchain.cpu_toolchain import BuildError

SET_CACHE = 'set GANFOUNDRY_CACHE'
_reported: set[Path] = set()  # places of which this process has said why they are not used


def cache_folders() -> Iterator[Path]:
    """Yields folders for libraries, best first: $GANFOUNDRY_CACHE or ~/.cache/ganfoundry, then a temporary one."""
    if named := os.environ.get('GANFOUNDRY_CACHE'):
        yield Path(user_path(named)).absolute()
    else:
        with contextlib.suppress(RuntimeError):  # a user without a home
            yield Path.home() / '.cache' / 'ganfoundry'
    yield Path(tempfile.gettempdir()) / f'ganfoundry-{os.getuid()}'


def trusted_folders() -> Iterator[Path]:
    """Yields the cache folders in which nobody else can have put a library; says why another one is passed over."""
    for folder in cache_folders():
        if is_trusted(folder):
            yield folder


def is_trusted(path: Path) -> bool:
    """Returns whether nobody else can have put or can replace what is at a path; says the reason if somebody can."""
    reason = distrust(path)
    if reason is not None and path not in _reported:
        _reported.add(path)
        say(f'{path}: not used: {reason}; {SET_CACHE} to a folder of your own, or make it yours alone')
    return reason is None


def writable_folder() -> Path:
    """Returns the first trusted cache folder in which files can be written; makes it if absent."""
    problems = []
    for folder in cache_folders():
        if (reason := distrust(folder)) is None:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                problems.append(f'{folder}: {error.strerror}')
                continue
            reason = distrust(folder)  # what was made on the way takes its mode from the umask
        if reason is None:
            return folder
        problems.append(f'{folder}: {reason}')
    raise BuildError(f'no folder to build in ({"; ".join(problems)}); {SET_CACHE} to one of your own')


def check_library(library: Path) -> None:
    """Raises BuildError unless the file to load is a regular one that nobody else can have written."""
    with open_regular(library) as file:
        facts = os.fstat(file.fileno())
        reason = distrust(library)
        if reason is None and not os.path.samestat(os.stat(library), facts):
            reason = 'was replaced while it was examined'
    if reason is not None:
        raise BuildError(f'native operations are not loaded from {library}: {reason}; {SET_CACHE} to one of your own')


def say(text: str) -> None:
    """Prints a line about native operations on stderr."""
    print(f'native operations: {shown(text)}', file=sys.stderr, flush=True)
