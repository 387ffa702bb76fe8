"""Stopping in good order: the first SIGINT or SIGTERM asks, the second one leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import Any, Self


class StopRequested(Exception):
    """Raised by `StopSignal.check` inside long work that can be left at any point."""


class StopSignal:
    """While entered, remembers that the process was asked to stop."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, repeat_s: float = 0.0) -> None:
        """repeat_s: signals within so many seconds of the first are the same request.

        A batch system sends one to every process, and a launcher passes its own on.
        """
        self._repeat_s = repeat_s
        self._at = 0.0
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def requested(self) -> bool:
        """Whether a signal has come."""
        return self._received is not None

    def check(self) -> None:
        """Raises StopRequested once a signal has come."""
        if self.requested():
            raise StopRequested

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells report it: 130 after Ctrl-C, 143 after SIGTERM; 0 without a signal."""
        return 0 if self._received is None else 128 + self._received

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
