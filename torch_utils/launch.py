"""`--gpus=N`: the same command line in N processes of this machine, with the environment variables of torchrun.

This process trains nothing. It starts the others, forwards signals, and ends or restarts all of them if one is lost.
torchrun's engine is not used: it raises exceptions in signal handlers, also for signals that are ignored, and waits
30 s for processes that hang.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Self

from dnnlib.signals import catch_stops, restore
from torch_utils.launched import ATTEMPT, BEGAN, EXIT_FILE, LAUNCHER, RUN_ID, is_ours
from torch_utils.watchdog import KILL_S

POLL_S = 0.05
USER_ERROR = 2  # exit code of a mistake of the user, which a restart would only repeat


class Failure(NamedTuple):
    """A process that has failed: its number, and its exit code, which is negative for a signal."""

    rank: int
    code: int

    def __str__(self) -> str:
        how = (
            f'was killed by {signal.Signals(-self.code).name}' if self.code < 0 else f'ended with exit code {self.code}'
        )
        return f'rank {self.rank} {how}'


def launch(num_processes: int, max_restarts: int, argv: Sequence[str]) -> int:
    """Runs `python argv` in several processes.

    If a process dies, the others are stopped and the group is restarted; each process then continues the run. Requests
    to stop are forwarded to all processes, which take the time that they need to save; Ctrl-Z stops all of them.

    Args:
        num_processes: Number of processes.
        max_restarts: Maximum number of restarts of the group.
        argv: Arguments of the interpreter: a script with its own arguments.

    Returns:
        The exit code that the run itself decided (0, 130, 143, ...). If the run failed, the code of its first failure,
        which is 128 + the number of a signal.
    """
    with tempfile.TemporaryDirectory(prefix='ganfoundry-') as folder, _Requests() as requests:
        exit_file = Path(folder) / 'code'
        shared = {LAUNCHER: str(os.getpid()), EXIT_FILE: str(exit_file), BEGAN: str(began()), RUN_ID: uuid.uuid4().hex}
        threads = str(max((os.cpu_count() or 1) // num_processes, 1))
        shared['OMP_NUM_THREADS'] = os.environ.get('OMP_NUM_THREADS', threads)
        failure = None
        for attempt in range(max_restarts + 1):
            with _Group(argv, num_processes, shared | {ATTEMPT: str(attempt)}) as group:
                failure = group.run(requests)
            if failure is None:
                return int(exit_file.read_text())
            if requests.first is not None:
                return int(exit_file.read_text()) if exit_file.exists() else 128 + requests.first
            if failure.code == USER_ERROR:
                return USER_ERROR
            if attempt < max_restarts:
                print(f'{failure}; restart {attempt + 1} of {max_restarts} of all processes', file=sys.stderr)
        assert failure is not None
        print(f'Error: {failure}, and no restart was left of {max_restarts} (--max-restarts)', file=sys.stderr)
        return 128 - failure.code if failure.code < 0 else failure.code


def began() -> float:
    """Returns the start of the user's command, of this process or its launcher, in seconds since 1970."""
    import psutil

    return float(os.environ[BEGAN]) if is_ours() else psutil.Process().create_time()


def leave(code: int, rank: int) -> int:
    """Returns the exit code of a process of a run that ended in good order with the given code.

    Under `launch` it is 0: otherwise a run that was asked to stop would be restarted. Rank 0 passes the code on.
    """
    if not is_ours():
        return code
    if rank == 0:
        Path(os.environ[EXIT_FILE]).write_text(str(code))
    return 0


class _Requests:
    """Signals that this process has received and not forwarded yet. `first` is the first request to stop."""

    def __init__(self) -> None:
        self.first: int | None = None
        self._pending: collections.deque[int] = collections.deque()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._previous = catch_stops(self._note, signal.SIGTSTP)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        restore(self._previous)

    def take(self) -> int | None:
        """Returns the oldest signal that has not been taken yet, None if there is none."""
        return self._pending.popleft() if self._pending else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.first is None and number != signal.SIGTSTP:
            self.first = number
        self._pending.append(number)


class _Group:
    """The processes of one attempt, each the leader of a session: signals of the terminal reach this process only."""

    def __init__(self, argv: Sequence[str], size: int, variables: Mapping[str, str]) -> None:
        """Starts the processes.

        Args:
            argv: Arguments of the interpreter.
            size: Number of processes.
            variables: Environment variables of all processes, in addition to those of this one.
        """
        place = {'WORLD_SIZE': size, 'LOCAL_WORLD_SIZE': size, 'MASTER_ADDR': 'localhost', 'MASTER_PORT': _free_port()}
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(size):
                numbers = {**place, 'RANK': rank, 'LOCAL_RANK': rank}
                environment = {**os.environ, **variables, **{name: str(value) for name, value in numbers.items()}}
                command = [sys.executable, *argv]
                process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
                self._processes.append(process)
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def run(self, requests: _Requests) -> Failure | None:
        """Waits until all processes have ended well (None), or one has not."""
        while True:
            if (number := requests.take()) is not None:
                self._pause() if number == signal.SIGTSTP else self._send(number)
                continue
            codes = [process.poll() for process in self._processes]
            if failures := [Failure(rank, code) for rank, code in enumerate(codes) if code]:
                # The others notice a killed process at once, and end with exit code 1.
                return min(failures, key=lambda failure: (failure.code > 0, failure.code == 1, failure.rank))
            if None not in codes:
                return None
            time.sleep(POLL_S)

    def end(self) -> None:
        """Ends the processes that still run: SIGTERM, and SIGKILL after KILL_S for them and what they have started."""
        self._send(signal.SIGTERM)
        deadline = time.monotonic() + KILL_S
        while self._running() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self._send(signal.SIGKILL, group=True)
        for process in self._running():
            with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for a disk or a driver
                process.wait(KILL_S)

    def _pause(self) -> None:
        """Stops the processes and then this one, as Ctrl-Z asks, and continues them after it."""
        self._send(signal.SIGSTOP, group=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._send(signal.SIGCONT, group=True)

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self._processes if process.poll() is None]

    def _send(self, number: int, *, group: bool = False) -> None:
        """Sends a signal to each process that runs. group: also to the processes that it has started."""
        for process in self._running():
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(process.pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        return int(probe.getsockname()[1])
