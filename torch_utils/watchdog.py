"""Ends a process in which nothing has moved for too long, saying where it stood."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time


class Watchdog:
    """A thread that looks at when this process last showed a sign of life.

    It bounds a wait for others and being the one that others wait for alike, so a process that hangs ends as well as
    those that need it. It needs the interpreter's lock, which collectives and system calls give back while they wait.
    """

    def __init__(self, who: str, timeout_s: float) -> None:
        """who: for the message. timeout_s: longest time without a sign of life."""
        self._who = who
        self._timeout_s = timeout_s
        self.where = 'the start'
        self._what = ''
        self._since = time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name='watchdog', daemon=True).start()

    def beat(self, where: str) -> None:
        """A sign of life. where: the step or the task that begins."""
        self.where, self._since = where, time.monotonic()

    def enter(self, what: str) -> None:
        """A sign of life as an operation begins, or ends, with an empty name."""
        self._what, self._since = what, time.monotonic()

    def limit(self, timeout_s: float, where: str) -> float:
        """Another time-out, from now on. Returns the one before."""
        before, self._timeout_s = self._timeout_s, timeout_s
        self._what = ''
        self.beat(where)
        return before

    def end(self) -> None:
        """Stops watching."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(min(self._timeout_s / 10, 1.0)):
            waited = time.monotonic() - self._since
            if waited > self._timeout_s:
                self._give_up(waited)

    def _give_up(self, waited: float) -> None:
        """Not an exception: the thread that hangs would not see it."""
        doing = f'waiting in {self._what}' if self._what else 'computing, or asleep'
        print(
            f'{self._who}: nothing has moved for {waited:.0f} s (--timeout={self._timeout_s:g}) at {self.where}, '
            f'{doing}; the stacks of all threads:',
            file=sys.stderr,
            flush=True,
        )
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)
