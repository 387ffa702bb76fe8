"""Simulated races with successive halving: whether the eventual best row stays, and what the race costs.

The model. The logarithms of the metric of K rows at the full length scatter with standard deviation `quality`: 0.24 in
a comparison of 5 kimg (bench/results/compare.md at 82cbb23). At half and at a quarter of the length they differ from
that by a random walk in doublings of the length, with standard deviation `crossing` per doubling: curves cross. A run
adds an error with standard deviation `spread`, whose correlation between neighboring rungs is `memory`. Every error is
normal. A row that passes through a bad stage and then becomes the best, as stylegan2 did there, is rare in this model.

Letters: R races, K rows, n seeds per row, T = 3 rungs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metrics.halving import CATCH_UP

SHARES = (0.25, 0.5, 1.0)
RULES = ('**noise**', 'significant and lower half', 'strict')
Worse = Callable[[Any], np.ndarray]  # moments of rows -> rows that are significantly worse, bool [R, K]


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """Parameters of the races; see the top of the file."""

    num_rows: int = 8
    num_seeds: int = 3
    quality: float = 0.24
    crossing: float = 0.08
    spread: float = 0.05
    memory: float = 0.6


def simulate_races(rng: np.random.Generator, model: Model, num_races: int) -> tuple[np.ndarray, np.ndarray]:
    """Simulates curves.

    Args:
        rng: Generator of the draws.
        model: Parameters.
        num_races: R.

    Returns:
        Expectations [R, T, K] and values of the runs [R, T, K, n], smaller is better.
    """
    end = model.quality * rng.standard_normal((num_races, model.num_rows))
    steps = model.crossing * rng.standard_normal((2, num_races, model.num_rows))
    expected = np.stack([end + steps[0] + steps[1], end + steps[0], end], axis=1)
    errors = [rng.standard_normal((num_races, model.num_rows, model.num_seeds))]
    for _ in SHARES[1:]:
        fresh = rng.standard_normal(errors[0].shape)
        errors.append(model.memory * errors[-1] + math.sqrt(1 - model.memory**2) * fresh)
    return expected, expected[..., None] + model.spread * np.stack(errors, axis=1)


def leaving(means: np.ndarray, worse: np.ndarray, share: float, rule: str) -> np.ndarray:
    """Returns the rows that leave at a rung; `metrics.halving.leaving_rows` for many races, which have equal K.

    Args:
        means: Means of the rows, float64 [R, K].
        worse: Significantly worse rows, bool [R, K].
        share: Share of the length.
        rule: One of RULES.

    Returns:
        Rows that leave, bool [R, K].
    """
    num_rows = means.shape[1]
    lower = means.argsort(axis=1).argsort(axis=1) >= num_rows - num_rows // 2
    if rule == 'strict':
        return lower
    if rule == 'significant and lower half':
        return lower & worse
    gaps = means - means.min(axis=1, keepdims=True)
    return lower & worse & (gaps > math.log2(1 / share) * math.log(CATCH_UP))


def race(values: np.ndarray, rule: str, worse_of: Worse, moments: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray]:
    """Runs races.

    Args:
        values: Values of the runs, float64 [R, T, K, n].
        rule: One of RULES.
        worse_of: The test.
        moments: Constructor of the argument of the test, from means, variances and counts.

    Returns:
        Rows that reach the end, bool [R, K], and the cost of each race relative to all rows at full length [R].
    """
    num_races, _, num_rows, num_seeds = values.shape
    alive = np.ones((num_races, num_rows), dtype=bool)
    cost = np.full(num_races, SHARES[0])
    for rung, share in enumerate(SHARES[:-1]):
        means, variances = values[:, rung].mean(axis=-1), values[:, rung].var(axis=-1, ddof=1)
        numbers = alive.sum(axis=1)
        after = alive.copy()
        for number in np.unique(numbers[numbers > 1]):
            races = np.flatnonzero(numbers == number)
            rows = np.argsort(~alive[races], axis=1, kind='stable')[:, :number]  # the rows that are left
            m, v = (np.take_along_axis(moment[races], rows, 1) for moment in (means, variances))
            gone = leaving(m, worse_of(moments(m, v, np.full(number, float(num_seeds)))), share, rule)
            which, row = np.nonzero(gone)
            after[races[which], rows[which, row]] = False
        alive = after
        cost += (SHARES[rung + 1] - share) * alive.mean(axis=1)
    return alive, cost


def tables(num_races: int, worse_of: Worse, moments: Callable[..., Any]) -> list[str]:
    """Returns the table of races in Markdown; see `race` for the arguments."""
    model = Model()
    variants = {
        'the model': model,
        '2 seeds': replace(model, num_seeds=2),
        '5 seeds': replace(model, num_seeds=5),
        '4 rows': replace(model, num_rows=4),
        'crossing 0': replace(model, crossing=0.0),
        'crossing 0.12': replace(model, crossing=0.12),
        'crossing 0.16': replace(model, crossing=0.16),
        'quality 0.12': replace(model, quality=0.12),
        'quality 0.48': replace(model, quality=0.48),
        'spread 0.02': replace(model, spread=0.02),
        'spread 0.1': replace(model, spread=0.1),
        'memory 0': replace(model, memory=0.0),
        'memory 0.9': replace(model, memory=0.9),
    }
    heads = [f'{rule}: kept | winner | cost' for rule in RULES]
    lines = [
        '',
        '### Races with halving, percent',
        '',
        f'{model}, and changes of it. kept: the row with the best expectation reaches the end; winner: that of the',
        'full race reaches it; cost: training relative to all rows at full length.',
        '',
        f'| model | {" | ".join(heads)} |',
        '|---' * (3 * len(RULES) + 1) + '|',
    ]
    for name, variant in variants.items():
        expected, values = simulate_races(np.random.default_rng(0), variant, num_races)
        cells = []
        for rule in RULES:
            kept, winner, cost = summary(expected, values, rule, worse_of, moments)
            cells.append(f'{kept:.1f} | {winner:.1f} | {cost:.0f}')
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return lines


def summary(
    expected: np.ndarray, values: np.ndarray, rule: str, worse_of: Worse, moments: Callable[..., Any]
) -> tuple[float, float, float]:
    """Returns percentages over races: the best row is kept, the winner of the full race is kept, and the cost.

    Args:
        expected: Expectations, float64 [R, T, K].
        values: Values of the runs, float64 [R, T, K, n].
        rule: One of RULES.
        worse_of: The test.
        moments: Constructor of its argument.
    """
    alive, cost = race(values, rule, worse_of, moments)
    places = np.arange(len(alive))
    kept, winner = (alive[places, end.argmin(axis=1)].mean() for end in (expected[:, -1], values[:, -1].mean(axis=-1)))
    return 100 * float(kept), 100 * float(winner), 100 * float(cost.mean())
