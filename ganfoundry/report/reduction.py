"""Curves with fewer points: a page shows some hundred per curve, however long the run.

Letters: N points, K reduced points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_POINTS = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduced:
    """A curve whose points stand for several each, with the range of those. `low` and `high` are empty for one each.

    Attributes:
        x: Last x of each group, float64 [K].
        y: Mean of the finite values, float64 [K].
        low: Least finite value, float64 [K] or [0].
        high: Largest finite value, float64 [K] or [0].
        group: Number of points of each group; the last ones may have one less.
    """

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    group: int


def reduced(x: np.ndarray, y: np.ndarray, max_points: int = MAX_POINTS) -> Reduced:
    """Returns a curve with at most `max_points` points.

    Args:
        x: Ascending, float64 [N].
        y: Any values, float64 [N].
        max_points: Upper limit of K.
    """
    if len(x) <= max_points:
        none = np.empty(0)
        return Reduced(x=x, y=y, low=none, high=none, group=1)
    ends = np.linspace(0, len(x), max_points + 1).astype(int)  # [K + 1]
    starts = ends[:-1]
    finite = np.isfinite(y)
    counts = np.add.reduceat(finite.astype(float), starts)
    with np.errstate(invalid='ignore', divide='ignore'):  # a group without a finite value has no mean
        mean = np.add.reduceat(np.where(finite, y, 0), starts) / counts
    some = counts > 0
    low = np.where(some, np.minimum.reduceat(np.where(finite, y, np.inf), starts), np.nan)
    high = np.where(some, np.maximum.reduceat(np.where(finite, y, -np.inf), starts), np.nan)
    return Reduced(x=x[ends[1:] - 1], y=mean, low=low, high=high, group=-(-len(x) // max_points))
