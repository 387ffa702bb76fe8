"""Watchdog: ends a process without progress and reports its position."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time


class Watchdog:
    """A thread that watches the time since the last sign of life of this process.

    It bounds both a wait for other processes and the time that the others wait for this one, so a process that hangs
    ends as well as those that need it. The thread needs the interpreter's lock, which collectives and system calls
    release.

    Attributes:
        where: The step or task in progress.
    """

    def __init__(self, who: str, timeout_s: float) -> None:
        """Starts the thread.

        Args:
            who: Name of the process, for the message.
            timeout_s: Maximum time without a sign of life, in seconds.
        """
        self._who = who
        self._timeout_s = timeout_s
        self.where = 'the start'
        self._what = ''
        self._since = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)
        self._thread.start()

    def beat(self, where: str) -> None:
        """Records a sign of life and the step or task that begins."""
        self.where, self._since = where, time.monotonic()

    def enter(self, what: str) -> None:
        """Records a sign of life at the start of an operation, or at its end with an empty name."""
        self._what, self._since = what, time.monotonic()

    def limit(self, timeout_s: float, where: str) -> float:
        """Sets the time-out from now on, in seconds, and the task. Returns the previous time-out."""
        before, self._timeout_s = self._timeout_s, timeout_s
        self._what = ''
        self.beat(where)
        return before

    def end(self) -> None:
        """Stops watching and waits for the thread: none may ask for the interpreter's lock once the process ends."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(min(self._timeout_s / 10, 1.0)):
            waited = time.monotonic() - self._since
            if waited > self._timeout_s:
                self._give_up(waited)

    def _give_up(self, waited: float) -> None:
        """Prints the position and all stacks, and exits: the thread that hangs would not see an exception."""
        doing = f'waiting in {self._what}' if self._what else 'computing, or asleep'
        print(
            f'{self._who}: no progress for {waited:.0f} s (--timeout={self._timeout_s:g}) at {self.where}, '
            f'{doing}; the stacks of all threads:',
            file=sys.stderr,
            flush=True,
        )
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)
