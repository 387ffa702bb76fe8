"""Orderly stop: the first SIGINT or SIGTERM, or the time limit, requests it; a second signal exits at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import Any, Self

from dnnlib.time_limit import EXIT_CODE, TimeLimit


class StopRequested(Exception):
    """Exception of `StopSignal.check`, raised inside long work that can be left at any point."""


class StopSignal:
    """Context manager that records requests to stop.

    Attributes:
        limit: Time limit that also requests a stop when it is reached; None: none.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, limit: TimeLimit | None = None, repeat_s: float = 0.0) -> None:
        """Sets the limit and the time within which signals count as one.

        Args:
            limit: Time limit, or None.
            repeat_s: Seconds after the first signal in which further ones count as the same request. A batch system
                sends one to every process, and a launcher forwards its own.
        """
        self.limit = limit
        self._repeat_s = repeat_s
        self._at = 0.0
        self._received: int | None = None
        self._in_time = False  # the limit has been reached
        self._previous: dict[int, Any] = {}

    def requested(self) -> bool:
        """Returns whether a signal has arrived or the time is over."""
        if self.limit is not None:
            self._in_time = self._in_time or self.limit.reached()
        return self._received is not None or self._in_time

    def check(self) -> None:
        """Raises StopRequested if a stop is requested."""
        if self.requested():
            raise StopRequested

    @property
    def exit_code(self) -> int:
        """Exit code of the process: 0 without a request.

        128 + the signal's number, as shells report it (130 after Ctrl-C, 143 after SIGTERM), or 75 after the time
        limit.
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
