"""Orderly stop: the first SIGINT, SIGTERM or SIGHUP, or the time limit, requests it; a second signal exits at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from dnnlib.time_limit import EXIT_CODE, TimeLimit

# Requests to stop: Ctrl-C, `kill` and batch systems, a closed terminal. Windows has no SIGHUP.
STOP_SIGNALS = tuple(signal.Signals[name] for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))
HANGUP = getattr(signal, 'SIGHUP', None)
MESSAGE = b'\nstopping after this step; once more to leave at once\n'


class StopRequested(Exception):
    """Exception of `StopSignal.check`, raised inside long work that can be left at any point."""


class StopSignal:
    """Context manager that records requests to stop.

    A signal that is ignored when it begins, such as SIGHUP under `nohup`, stays ignored. Only the main thread of a
    process can receive signals; in another thread, only the limit requests a stop.

    Attributes:
        limit: Time limit that also requests a stop when it is reached; None: none.
    """

    def __init__(self, limit: TimeLimit | None = None, repeat_s: float = 0.0) -> None:
        """Sets the limit and the time within which signals count as one.

        Args:
            limit: Time limit, or None.
            repeat_s: Seconds after the first signal in which further ones count as the same request. A batch system
                sends one to every process, and a launcher forwards its own.
        """
        self.limit = limit
        self._repeat_s = repeat_s
        self._at: float | None = None  # time of the first SIGINT or SIGTERM
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

        128 + the signal's number, as shells report it (130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP), or 75
        after the time limit.
        """
        if self._received is not None:
            return 128 + self._received
        return EXIT_CODE if self._in_time else 0

    def __enter__(self) -> Self:
        self._previous = catch_stops(self._handle)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        restore(self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # SIGHUP is never the second request: a terminal that closes sends it twice, and a session that ends with it
        # sends SIGTERM afterwards.
        if number != HANGUP:
            now = time.monotonic()
            if self._at is None:
                self._at = now
            elif now - self._at >= self._repeat_s:
                os._exit(128 + number)
        if self._received is None:
            self._received = number
            with contextlib.suppress(OSError):  # not through sys.stderr, which this may have interrupted
                os.write(2, MESSAGE)


def catch_stops(handle: Callable[[int, FrameType | None], None], *more: int) -> dict[int, Any]:
    """Sets the handler of each of STOP_SIGNALS and `more` that is not ignored. Returns those before, for `restore`.

    Does nothing outside of the main thread, which alone receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [number for number in (*STOP_SIGNALS, *more) if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handle) for number in heard}


@contextlib.contextmanager
def recorded_interrupts() -> Iterator[list[int]]:
    """Yields a list that holds every SIGINT that has raised KeyboardInterrupt, which others may turn into an exit."""
    received: list[int] = []
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, or recorded already
        yield received
        return

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore_stops() -> None:
    """Ignores STOP_SIGNALS in a worker process: they reach the whole process group, and its parent decides."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def restore(handlers: dict[int, Any]) -> None:
    """Sets the handlers that `catch_stops` has returned."""
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
