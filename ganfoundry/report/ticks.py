"""Numbers of stats.jsonl as columns over the ticks.

A run of 100,000 ticks has 200 MB of lines. They have the same names in the same order, so a pattern made of one line
takes the numbers out of the next ones, in half the time that JSON takes. A line that matches none of the patterns so
far is read as JSON, and gives another.

Letters: T ticks.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable

import numpy as np

from dnnlib.errors import RecordError
from dnnlib.records import RESULTS, parse_record
from training.run.lines import check_stats

NIMG, TIMESTAMP = 'nimg', 'timestamp'
MAX_PATTERNS = 8  # patterns that a line is compared with, the newest ones


class Ticks:
    """Columns of stats.jsonl: the mean of every statistic, nimg and the time of the line, per tick.

    Ticks are ascending by nimg. A line that does not come later than the ones before it replaces them: early versions
    did not set the lines aside that a resumed run computes again.
    """

    def __init__(self) -> None:
        self._layouts: list[_Layout] = []  # that of the newest line last
        self._order: list[_Layout] = []  # that of each tick
        self._columns: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._order)

    def add(self, lines: Iterable[bytes]) -> int:
        """Adds lines. Returns the index of the first tick that is new or that has replaced another."""
        first = len(self)
        for line in lines:
            layout, numbers = self._read(line)
            if layout is not None and numbers is not None:
                self._append(layout, numbers)
                first = min(first, len(self) - 1)
        self._columns = {}
        return first

    def _read(self, line: bytes) -> tuple[_Layout | None, list[float] | None]:
        for layout in reversed(self._layouts[-MAX_PATTERNS:]):
            if (numbers := layout.numbers(line)) is not None:
                return layout, numbers
        if (values := _values_of(line)) is None:
            return None, None
        names = tuple(values)
        layout = next((known for known in self._layouts if known.names == names), None) or _Layout(names)
        self._layouts = [*(known for known in self._layouts if known is not layout), layout]
        return layout, list(values.values())

    def _append(self, layout: _Layout, numbers: list[float]) -> None:
        nimg = numbers[layout.names.index(NIMG)]
        while self._order and self._order[-1].last(NIMG) >= nimg:
            self._order.pop().drop()
        layout.values.extend(numbers)
        layout.ticks.append(len(self._order))
        self._order.append(layout)

    def names(self) -> list[str]:
        """Returns the names of the statistics, in the order of their first tick."""
        used = sorted((layout for layout in self._layouts if layout.ticks), key=lambda layout: layout.ticks[0])
        return list(dict.fromkeys(name for layout in used for name in layout.names if '/' in name))

    def column(self, name: str) -> np.ndarray:
        """Returns the numbers of a statistic, or of nimg or timestamp, float64 [T]; NaN where a tick has none."""
        if name not in self._columns:
            column = np.full(len(self), np.nan)
            for layout in self._layouts:
                if name in layout.names:
                    column[np.array(layout.ticks, dtype=int)] = layout.column(name)
            self._columns[name] = column
        return self._columns[name]

    def series(self, name: str, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Returns nimg and the numbers of a statistic, float64 [N] each, for the ticks from `first` on that have it."""
        has_it = np.zeros(len(self), dtype=bool)
        for layout in self._layouts:
            if name in layout.names:
                has_it[np.array(layout.ticks, dtype=int)] = True
        chosen = np.flatnonzero(has_it[first:]) + first
        return self.column(NIMG)[chosen], self.column(name)[chosen]

    def last(self, name: str) -> float | None:
        """Returns a number of the newest tick; None if it has none, or without ticks."""
        return self._order[-1].last(name) if self._order and name in self._order[-1].names else None


class _Layout:
    """Ticks with the same names, and the regular expression of their lines, as `json.dumps` spells them.

    Args:
        names: The names, in the order of the line.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.values = array('d')  # tick by tick
        self.ticks = array('q')  # index of each tick
        number = rb'[-+.0-9A-Za-z]{1,64}'
        parts = []
        for name in self.names:
            key = re.escape(json.dumps(name).encode())
            if '/' in name:
                parts.append(
                    key + rb': \{"num": ' + number + rb', "mean": (' + number + rb'), "std": ' + number + rb'\}'
                )
            else:
                parts.append(key + (rb': (\d{1,18})' if name == NIMG else rb': (' + number + rb')'))
        self._regex = re.compile(rb'\{' + b', '.join(parts) + rb'\}\n')

    def numbers(self, line: bytes) -> list[float] | None:
        """Returns the numbers of a line, None if it is another kind of line."""
        found = self._regex.fullmatch(line)
        try:
            return None if found is None else [float(text) for text in found.groups()]
        except ValueError:
            return None

    def last(self, name: str) -> float:
        return self.values[self.names.index(name) - len(self.names)]

    def drop(self) -> None:
        del self.values[-len(self.names) :]
        self.ticks.pop()

    def column(self, name: str) -> np.ndarray:
        return np.frombuffer(self.values).reshape(-1, len(self.names))[:, self.names.index(name)].copy()


def _values_of(line: bytes) -> dict[str, float] | None:
    """Returns nimg, the time and the mean of every statistic of a line, in its order; None if it is another line."""
    try:
        record = parse_record(line, 'stats.jsonl', RESULTS)
        check_stats(record)
        if TIMESTAMP in record:
            record.number(TIMESTAMP, finite=False)
    except RecordError:
        return None
    values = record.values
    names = [name for name in values if '/' in name or name in (NIMG, TIMESTAMP)]
    return {name: float(values[name]['mean'] if '/' in name else values[name]) for name in names}
