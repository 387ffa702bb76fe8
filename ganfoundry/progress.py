"""Progress of a measurement: the expected time of each pass over images, and a bar on a terminal."""

from __future__ import annotations

import time

from dnnlib.log import Log, format_time

REPORT_S = 10.0  # seconds between two lines if stderr is no terminal
REDRAW_S = 0.2  # seconds between two drawings of the bar
SHORT_S = 5.0  # a pass that takes less is not announced
BAR = 24  # characters


class Progress:
    """Receives the progress of `metrics.evaluate.MetricEvaluator`: source, images done, images in total.

    Args:
        log: Receives sentences, and the bar.
        first_only: Announce each source once, and report no more lines: those of later snapshots would repeat it.
    """

    def __init__(self, log: Log, *, first_only: bool = False) -> None:
        self._log = log
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
                self._log.line(f'{source}: {total} images, about {format_time(now - self._began + left)}')
        if self._log.has_bar:
            self._draw(source, done, total, left, now)
        elif not self._first_only and now - self._printed >= REPORT_S:
            self._printed = now
            self._log.line(f'{source}: {done} of {total}, {format_time(left)} left')
        if done >= total and not self._first_only:
            self._announced.discard(source)

    def _draw(self, source: str, done: int, total: int, left: float, now: float) -> None:
        """Draws the bar, and removes it at the end of the pass."""
        if done >= total:
            self._log.clear_bar()
        elif now - self._drawn >= REDRAW_S:
            self._drawn = now
            filled = BAR * done // total
            bar = '#' * filled + '.' * (BAR - filled)
            self._log.bar(f'{source} [{bar}] {done} of {total}, {format_time(left)} left')
