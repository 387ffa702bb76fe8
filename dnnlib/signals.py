"""Stopping in good order: the first SIGINT or SIGTERM asks, or the end of the time; the second leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import Any, Self

from dnnlib.time_limit import EXIT_CODE, TimeLimit


class StopRequested(Exception):
    """Raised by `StopSignal.check` inside long work that can be left at any point."""


class StopSignal:
    """While entered, remembers that the process was asked to stop. limit: asks for that too, once it is reached."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, limit: TimeLimit | None = None, repeat_s: float = 0.0) -> None:
        """repeat_s: signals within so many seconds of the first are the same request.

        A batch system sends one to every process, and a launcher passes its own on.
        """
        self.limit = limit
        self._repeat_s = repeat_s
        self._at = 0.0
        self._received: int | None = None
        self._in_time = False  # the limit has been reached
        self._previous: dict[int, Any] = {}

    def requested(self) -> bool:
        """Whether a signal has come, or the time is over."""
        if self.limit is not None:
            self._in_time = self._in_time or self.limit.reached()
        return self._received is not None or self._in_time

    def check(self) -> None:
        """Raises StopRequested once that is so."""
        if self.requested():
            raise StopRequested

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells report it: 130 after Ctrl-C, 143 after SIGTERM. 75 when time was over.

        0 where nothing asked to stop.
        """
        if self._received is not None:
            return 128 + self._received
        return EXIT_CODE if self._in_time else 0

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._handle) for number in self.SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            if time.monotonic() - self._at < self._repeat_s:
                return
            os._exit(128 + number)
        self._received, self._at = number, time.monotonic()
        sys.stderr.write('\nstopping after this step; once more to leave at once\n')
