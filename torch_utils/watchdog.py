"""Watchdog: ends a process without progress and reports its position."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time

# A hung run has ended `--timeout` and at most END_S later: POLL_S until the watchdog of one process notices, PRINT_S
# for its message, and KILL_S for the launcher to end the others, the hung one with SIGKILL.
END_S = 15.0
POLL_S = 1.0  # largest interval between two looks at the time
PRINT_S = 3.0
KILL_S = 5.0


class Watchdog:
    """A thread that watches the time since the last sign of life of this process, and whether its launcher still runs.

    It bounds both a wait for other processes and the time that the others wait for this one, so a process that hangs
    ends as well as those that need it. Time in which the whole process was stopped (Ctrl-Z, SIGSTOP) does not count.
    The thread needs the interpreter's lock, which collectives and system calls release.

    Attributes:
        where: The step or task in progress.
    """

    def __init__(self, who: str, timeout_s: float, launcher: int | None = None) -> None:
        """Starts the thread.

        Args:
            who: Name of the process, for the message.
            timeout_s: Maximum time without a sign of life, in seconds.
            launcher: Process id of the parent without which this process has to end; None: it may outlive its parent.
        """
        self._who = who
        self._timeout_s = timeout_s
        self._launcher = launcher
        self.where = 'the start'
        self._what = ''
        self._beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)
        self._thread.start()

    def beat(self, where: str) -> None:
        """Records a sign of life and the step or task that begins."""
        self.where = where
        self._beats += 1

    def enter(self, what: str) -> None:
        """Records a sign of life at the start of an operation, or at its end with an empty name."""
        self._what = what
        self._beats += 1

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
        seen, waited, before = self._beats, 0.0, time.monotonic()
        while not self._ended.wait(pause := min(self._timeout_s / 10, POLL_S)):
            now = time.monotonic()
            if seen == self._beats:
                waited += min(now - before, 2 * pause)  # longer: the process was stopped in between
            else:
                seen, waited = self._beats, 0.0
            before = now
            if waited > self._timeout_s:
                self._give_up(waited)
            if self._launcher is not None and os.getppid() != self._launcher:
                self._follow_launcher()

    def _follow_launcher(self) -> None:
        """Asks this process to stop, once, as its launcher would have done: the run saves, and frees its folder."""
        self._launcher = None
        try:
            print(f'{self._who}: the launcher is gone; stopping', file=sys.stderr, flush=True)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _give_up(self, waited: float) -> None:
        """Prints the position and all stacks, and exits: the thread that hangs would not see an exception."""
        signal.alarm(int(PRINT_S))  # ends the process if nobody reads stderr
        doing = f'waiting in {self._what}' if self._what else 'computing, or asleep'
        try:
            print(
                f'{self._who}: no progress for {waited:.0f} s (--timeout={self._timeout_s:g}) at {self.where}, '
                f'{doing}; the stacks of all threads:',
                file=sys.stderr,
                flush=True,
            )
            faulthandler.dump_traceback(all_threads=True)
        finally:
            os._exit(1)
