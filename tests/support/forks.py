"""Processes forked from a zygote, which has imported everything: a command line starts in a tenth of a second."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import ROOT

PATIENCE_S = 240  # no launch of a test takes longer, on a machine that is busy with others


class Zygote:
    """The process that has imported everything, from which launches are forked."""

    def __init__(self) -> None:
        pipes: dict[str, Any] = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
        self._process = subprocess.Popen([sys.executable, '-m', 'tests.support.zygote'], cwd=ROOT,
                                         env=environment(), start_new_session=True, **pipes)  # fmt: skip
        assert self._answer() == 'ready'

    def start(
        self, call: str, *args: Any, output: Path, errors: Path | None = None, env: dict[str, str] | None = None
    ) -> Launch:
        """Starts a process.

        Args:
            call: The function that it calls, 'module:function'.
            args: Arguments of the function, values that JSON can hold.
            output: File to which stdout is appended.
            errors: File to which stderr is appended; by default `output`.
            env: Changes of the environment.
        """
        request = {'call': call, 'args': args, 'cwd': os.getcwd(), 'env': environment() | (env or {})}
        files = {'output': str(output.absolute()), 'errors': str((errors or output).absolute())}
        return Launch(self, self.ask(request | files), output)

    def ask(self, request: dict[str, Any]) -> Any:
        """Sends one request and returns its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + '\n')
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process; the kernel then kills what it has forked."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


class Launch:
    """One process, the leader of its own process group."""

    def __init__(self, zygote: Zygote, pid: int, output: Path) -> None:
        self.pid, self.code, self._zygote, self._output = pid, None, zygote, output

    def poll(self) -> int | None:
        """Returns the exit code, negative for a signal; None while the process runs."""
        if self.code is None:
            self.code = self._zygote.ask({'pid': self.pid})
        return self.code

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Returns the exit code once the process has ended; raises TimeoutError with its last words if it does not."""
        self.watch(lambda: False, patience_s)
        assert self.code is not None
        if self.code:
            print(f'exit code {self.code}:\n{self.said()[-5000:]}')  # shown if the test fails
        return self.code

    def watch(self, seen: Callable[[], object], patience_s: float = PATIENCE_S) -> bool:
        """Waits until `seen` or the end of the process. Returns True if the process still runs."""
        deadline = time.monotonic() + patience_s
        while not seen():
            if self.poll() is not None:
                return False
            if time.monotonic() > deadline:
                self.kill(signal.SIGKILL, group=True)
                raise TimeoutError(f'nothing after {patience_s} s; its last words:\n{self.said()[-2000:]}')
            time.sleep(0.01)
        return self.poll() is None

    def kill(self, number: int, *, group: bool = False) -> None:
        """Sends a signal to the process or to its group, as a terminal and a batch system do."""
        (os.killpg if group else os.kill)(self.pid, number)

    def workers(self) -> list[psutil.Process]:
        """Returns the child processes."""
        return psutil.Process(self.pid).children(recursive=True)

    def said(self) -> str:
        """Returns what the process has written to its output file."""
        return self._output.read_text() if self._output.exists() else ''


@functools.cache
def shared_zygote() -> Zygote:
    """Returns the zygote of this test process, which starts with the first call and ends with the process."""
    zygote = Zygote()
    atexit.register(zygote.close)
    return zygote


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return 'zombie' not in Path(f'/proc/{pid}/status').read_text()
    except OSError:
        return False


def environment() -> dict[str, str]:
    """Returns the environment of a command line: one thread, because bits are compared."""
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
