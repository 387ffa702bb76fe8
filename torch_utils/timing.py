"""Durations of the parts of a step: by the clock on CPUs, by events on CUDA, without waiting for the device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch


class PhaseTimer:
    """Sums of seconds by name between two readings."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == 'cuda'
        self._seconds: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times the body under a name."""
        if self._cuda:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._events.append((name, start, end))
        else:
            begin = time.perf_counter()
            yield
            self._add(name, time.perf_counter() - begin)

    def read(self) -> dict[str, tuple[int, float]]:
        """Returns {name: (executions, total seconds)} since the last reading; waits for the device."""
        if self._events:
            torch.cuda.synchronize()
            for name, start, end in self._events:
                self._add(name, start.elapsed_time(end) / 1000)
            self._events.clear()
        result = {name: (self._counts[name], seconds) for name, seconds in self._seconds.items()}
        self._seconds.clear()
        self._counts.clear()
        return result

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds
        self._counts[name] = self._counts.get(name, 0) + 1
