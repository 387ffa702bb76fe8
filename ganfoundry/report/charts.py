"""Charts of a page: curves with bands, drawn in the browser by uPlot.

    Chart(title='Loss', series=[Series(name='G', x=[0, 1, 2], y=[0.9, 0.8, 0.7]), ...])
    Chart(title='FD', series=[Series(name='squeeze', x=kimg, y=mean, low=mean - std, high=mean + std, points=True)])

Each series has x values of its own. A value that is not finite is a gap.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

DIGITS = 6  # significant digits of a value in the page


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A curve.

    Attributes:
        name: Its name in the legend.
        x: Ascending values.
        y: One value per x.
        low: Lower end of the band or error bar per x, or empty.
        high: Upper end per x, or empty.
        points: Whether every point is marked; `low` and `high` are then error bars instead of a band.
        best: Index of the point that is marked as the best, or None.
        color: Index of the color; None for the position of the series in its chart.
        dashed: Whether the line is dashed.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    points: bool = False
    best: int | None = None
    color: int | None = None
    dashed: bool = False

    def data(self) -> dict[str, Any]:
        """Returns the series as the page's script reads it."""
        assert len(self.x) == len(self.y)
        assert len(self.low) == len(self.high)
        assert len(self.low) in (0, len(self.x))
        return {
            'name': self.name,
            'x': rounded(self.x),
            'y': rounded(self.y),
            'low': rounded(self.low),
            'high': rounded(self.high),
            'points': self.points,
            'best': self.best,
            'color': self.color,
            'dashed': self.dashed,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart with one or more curves.

    Attributes:
        title: Its title, which also identifies the chart within its page unless `key` does.
        series: The curves.
        x_label: Quantity on the horizontal axis.
        note: Sentence below the chart.
        key: Identifier within the page.
    """

    kind: ClassVar[str] = 'chart'
    title: str
    series: Sequence[Series]
    x_label: str = 'kimg'
    note: str = ''
    key: str = ''

    @property
    def identifier(self) -> str:
        """Identifier of the chart within its page: letters, digits and hyphens."""
        return identifier(self.key or self.title)

    def data(self) -> dict[str, Any]:
        """Returns the chart as the page's script reads it."""
        return {'title': self.title, 'xLabel': self.x_label, 'series': [series.data() for series in self.series]}


def identifier(text: str) -> str:
    """Returns a text as an identifier in HTML."""
    return re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')


def rounded(values: Sequence[float]) -> list[float | None]:
    """Returns values as JSON holds them, None for those that are not finite."""
    return [float(f'{value:.{DIGITS}g}') if math.isfinite(value) else None for value in values]
