"""Processes of `--gpus=N` that are forked from their launcher: an interpreter of its own would import for seconds.

`torch_utils.launch` starts them with subprocess.Popen, which `fork_ranks` replaces in a launcher. Tests in
tests/commands and tests/torch_utils, and one of R9, start interpreters.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

from tests.support.zygote import end_with, run_script


class Rank:
    """The part of subprocess.Popen that the launcher uses, for `python SCRIPT ARGUMENTS`."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], stdin: int, start_new_session: bool) -> None:
        """Forks the process, the leader of a session.

        Args:
            command: The interpreter, a script and its arguments.
            env: The whole environment.
            stdin: subprocess.DEVNULL, which is the launcher's stdin, too.
            start_new_session: True.
        """
        assert stdin == subprocess.DEVNULL
        assert start_new_session
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            atexit._clear()  # those of the launcher
            end_with(lambda: become(command[1:], env))

    def poll(self) -> int | None:
        """Returns the exit code, negative for a signal; None while the process runs."""
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if done else None
        return self.returncode

    def wait(self, timeout: float) -> None:
        """Waits for the end of the process; raises TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired('train.py', timeout)
            time.sleep(0.01)


def become(command: Sequence[str], env: Mapping[str, str]) -> None:
    """Runs a script in a forked launcher as an interpreter would: nothing of the launcher's own work remains."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env)
    for name in [name for name in sys.modules if name.startswith('plugin_')]:
        del sys.modules[name]
    run_script(*command)


def run_forking(path: str, *arguments: str) -> None:
    """Runs a script as `python path arguments` does, whose processes of `--gpus=N` are forked."""
    fork_ranks()
    run_script(path, *arguments)


def fork_ranks() -> None:
    """Makes `torch_utils.launch` of this process fork."""
    from torch_utils import launch

    names = {'DEVNULL': subprocess.DEVNULL, 'TimeoutExpired': subprocess.TimeoutExpired}
    launch.subprocess = SimpleNamespace(Popen=Rank, **names)  # type: ignore[assignment]
