"""Build of the native operations, once per machine, and loading, once per process.

The file name of a library is the digest of everything that its machine code depends on, so a stale library is never
used. It is made in a temporary folder and renamed: libraries in the cache are complete. A machine without a compiler
raises no exception here; `load_cpu` says what is missing, and the caller runs the reference.

`python -m torch_utils.ops.toolchain.build` builds ahead of the first use.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from dnnlib import files
from torch_utils.ops.toolchain.cpu_toolchain import BuildError, Toolchain, explain, find_toolchain, ninja_file
from torch_utils.ops.toolchain.cuda_toolchain import find_cuda_toolchain
from torch_utils.ops.toolchain.library_folders import (
    SET_CACHE,
    check_library,
    is_trusted,
    say,
    trusted_folders,
    writable_folder,
)

CSRC = Path(__file__).resolve().parent.parent / 'csrc'
# Limits of a build and of the wait for another process that builds; after that, a compiler is considered stuck. A build
# takes a minute of two cores, and over ten minutes beside fifteen busy processes of higher priority.
BUILD_TIMEOUT_S = 1800
WAIT_TIMEOUT_S = 1800
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Loaded:
    """Result of an attempt to load native operations; true if it succeeded.

    Attributes:
        library: Path of the library, None after a failure.
        problem: What is missing and the way out, in one line; None after a success.
    """

    library: Path | None = None
    problem: str | None = None

    def __bool__(self) -> bool:
        return self.library is not None


@functools.cache
def load_cpu(source_dir: Path = CSRC) -> Loaded:
    """Builds the native CPU operations, unless they are built, and loads them. Tried once per process.

    Never raises for a missing tool: `Loaded.problem` names it. Prints lines on stderr only if there is a wait.
    """
    return _load(lambda: build_library(source_dir))


@functools.cache
def load_cuda(source_dir: Path = CSRC) -> Loaded:
    """Loads the CUDA operations likewise, after the CPU operations, which define schemas, shapes and gradients."""
    loaded = _load(
        lambda: build_library(source_dir, find_tools=find_cuda_toolchain), after=lambda: load_cpu(source_dir)
    )
    if not loaded:
        return loaded
    try:
        one = torch.zeros([1, 1], device='cuda')
        torch.ops.ganfoundry.bias_act(one, one[0], 1, 1.0, 1.0, None)
    except RuntimeError as error:
        reason = ' '.join(str(error).split())
        return Loaded(problem=f'CUDA operations do not start: {reason}; install a driver as new as the CUDA toolkit')
    return loaded


def _load(make: Callable[[], Path], after: Callable[[], Loaded] | None = None) -> Loaded:
    try:
        library = make()
    except BuildError as error:
        return Loaded(problem=f'native operations cannot be built: {error}')
    if after is not None and not (needed := after()):
        return needed
    try:
        check_library(library)
        torch.ops.load_library(str(library))
    except BuildError as error:
        return Loaded(problem=str(error))
    except OSError as error:
        reason = ' '.join(str(error).split())
        way_out = f'remove that file; if its disk forbids executable ones, {SET_CACHE} to one that does not'
        return Loaded(problem=f'native operations cannot be loaded: {reason}; {way_out}')
    return Loaded(library)


def build_library(
    source_dir: Path = CSRC,
    *,
    find_tools: Callable[[], Toolchain] = find_toolchain,
    wait_timeout_s: float = WAIT_TIMEOUT_S,
) -> Path:
    """Returns the shared library of a folder's sources, from the cache or newly built.

    Processes that need the same library at the same time take turns: one builds, the others wait for it.

    Args:
        source_dir: Folder of the sources.
        find_tools: Returns the tools, or raises BuildError.
        wait_timeout_s: Maximum wait for another process, in seconds; then this process builds, too.

    Returns:
        The path of the library.

    Raises:
        BuildError: If it cannot be built; one line with the missing piece, the way out, and the compiler's log.
    """
    tools = find_tools()
    key = digest(source_dir, tools)
    if library := _find(key):
        return library
    library = writable_folder() / _file_name(key)
    try:
        with _turn(library.with_suffix('.lock'), wait_timeout_s) as mine:
            if library.exists():
                return library
            if mine:
                _sweep(library)
            _compile(tools, source_dir, library)
    except OSError as error:
        raise BuildError(f'{error.filename or library.parent}: {error.strerror}; {SET_CACHE} elsewhere') from None
    return library


def find_built(source_dir: Path = CSRC, find_tools: Callable[[], Toolchain] = find_toolchain) -> Path | None:
    """Returns the library that `build_library` would return without compiling; None without one. Raises BuildError."""
    return _find(digest(source_dir, find_tools()))


def digest(source_dir: Path, tools: Toolchain) -> str:
    """Returns the sha256 of sources (relative paths), flags, the versions of PyTorch and compiler, and CPU features."""
    if not tools.units(source_dir):
        raise BuildError(f'there are no C++ sources in {source_dir}; install the project whole, or run from a checkout')
    contents = [(os.path.relpath(path, source_dir), files.sha256_of(path)) for path in tools.inputs(source_dir)]
    return hashlib.sha256(json.dumps([contents, tools.identity()]).encode()).hexdigest()


def _file_name(key: str) -> str:
    return f'ops-{key[:20]}.so'


def _find(key: str) -> Path | None:
    paths = (folder / _file_name(key) for folder in trusted_folders())
    return next((path for path in paths if os.path.exists(path) and is_trusted(path)), None)


@contextlib.contextmanager
def _turn(path: Path, timeout_s: float) -> Iterator[bool]:
    """Acquires a lock file that names its owner. Yields False after a timeout or on a file system without locks.

    The kernel frees the lock when its owner dies, so a remaining file blocks nobody. An owner that takes longer than
    `timeout_s` is considered stuck, and its work is repeated: libraries are renamed into place, so at worst one is
    built twice.
    """
    with path.open('a+', encoding='utf-8') as file:
        mine = _wait_for_lock(file.fileno(), path, timeout_s)
        if mine:
            file.truncate(0)
            file.write(f'pid {os.getpid()} on {socket.gethostname()} since {time.strftime("%Y-%m-%d %H:%M:%S")}\n')
            file.flush()
        yield mine


def _wait_for_lock(handle: int, path: Path, timeout_s: float) -> bool:
    deadline, waiting = time.monotonic() + timeout_s, False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        except OSError:  # a disk without locks
            return False
        if time.monotonic() > deadline:
            say(f'{_owner(path)} has been building them for too long; building them here')
            return False
        if not waiting:
            say(f'waiting until {_owner(path)} has built them, {timeout_s:.0f} s at most')
            waiting = True
        time.sleep(POLL_S)


def _owner(path: Path) -> str:
    return path.read_text(encoding='utf-8', errors='replace').strip() or 'another process'


def _compile(tools: Toolchain, source_dir: Path, library: Path) -> None:
    say(f'building them in {library.parent}, once for this machine; takes half a minute to a minute')
    with tempfile.TemporaryDirectory(prefix=f'{library.stem}{files.TMP_MARK}', dir=library.parent) as tmp:
        made = Path(tmp) / library.name
        (Path(tmp) / 'build.ninja').write_bytes(os.fsencode(ninja_file(tools, source_dir, made)))
        status, log = _run_ninja(tools, tmp)
        if status != 0:
            raise BuildError(f'{explain(log)}. {_keep(log, library.with_suffix(".log"))}')
        files.fsync_path(made)
        os.replace(made, library)


def _sweep(library: Path) -> None:
    """Removes temporary files that killed builders of this library left."""
    for left in library.parent.glob(f'{library.stem}{files.TMP_MARK}*'):
        files.remove(left)


def _run_ninja(tools: Toolchain, folder: str) -> tuple[int, str]:
    """Returns the exit status and the output of ninja and the compiler, in English."""
    command = [tools.ninja, '-v']
    environment = {**os.environ, 'LC_ALL': 'C'}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors='replace', timeout=BUILD_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BuildError(
            f'the compiler was not done after {BUILD_TIMEOUT_S} s; try again on a quieter machine'
        ) from None
    return done.returncode, done.stdout


def _keep(log: str, path: Path) -> str:
    try:
        path.write_text(log, encoding='utf-8')
    except OSError as error:
        return f'Its log could not be kept ({error.strerror})'
    return f'Log: {path}'


def main() -> int:
    """Builds and loads for the CPU, and for CUDA if there is a device; prints paths, or what is missing."""
    attempts = [load_cpu(), load_cuda()] if torch.cuda.is_available() else [load_cpu()]
    print(*(loaded.library or loaded.problem for loaded in attempts), sep='\n')
    return 0 if all(attempts) else 1


if __name__ == '__main__':
    sys.exit(main())
