"""Progress of a measurement: the expected time of each pass over images, and a bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from dnnlib.log import format_time

REPORT_S = 10.0  # seconds between two lines if stderr is no terminal
REDRAW_S = 0.2  # seconds between two drawings of the bar
SHORT_S = 5.0  # a pass that takes less is not announced
BAR = 24  # characters


class Progress:
    """Receives the progress of `metrics.evaluate.MetricEvaluator`: source, images done, images in total.

    Args:
        say: Receives sentences.
        stream: Stream of the bar, which is drawn on a terminal only.
        first_only: Announce each source once, and report no more lines: those of later snapshots would repeat it.
    """

    def __init__(self, say: Callable[[str], None], stream: TextIO | None = None, *, first_only: bool = False) -> None:
        self._say = say
        self._stream = sys.stderr if stream is None else stream
        self._first_only = first_only
        self._announced: set[str] = set()
        self._began = self._printed = self._drawn = 0.0

    def __call__(self, source: str, done: int, total: int) -> None:
        """Notes that `done` of `total` images of a source have been seen; 0 begins a pass."""
        now = time.monotonic()
        if done == 0:
            self._began = self._printed = self._drawn = now
            return
        left = (now - self._began) * (total - done) / done
        if source not in self._announced:
            self._announced.add(source)
            if now - self._began + left >= SHORT_S:
                self._say(f'{source}: {total} images, about {format_time(now - self._began + left)}')
        if self._stream.isatty():
            self._draw(source, done, total, left, now)
        elif not self._first_only and now - self._printed >= REPORT_S:
            self._printed = now
            self._say(f'{source}: {done} of {total}, {format_time(left)} left')
        if done >= total and not self._first_only:
            self._announced.discard(source)

    def _draw(self, source: str, done: int, total: int, left: float, now: float) -> None:
        """Draws the bar, and removes it at the end of the pass."""
        if done >= total:
            self._write('\r\x1b[K')
        elif now - self._drawn >= REDRAW_S:
            self._drawn = now
            filled = BAR * done // total
            bar = '#' * filled + '.' * (BAR - filled)
            self._write(f'\r\x1b[K{source} [{bar}] {done} of {total}, {format_time(left)} left')

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # a terminal that is gone ends no measurement
            return
