"""Simulations behind the verdicts of compare.py: the level and the power of tests over training seeds.

    python bench/trials.py --draws=2000 --races=2000 --out=bench/results/trials.md

All rows of a draw have logarithms of the metric with normal errors over seeds. A false verdict is a row that is called
worse than the best one, which is chosen from the data, although all rows are equal. bench/trial_races.py simulates
races with halving.

Letters: R draws, K rows, n seeds per row, m means, s² variances, g = s²/n.
"""

from __future__ import annotations

import functools
import math
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import scipy
from numpy.polynomial import chebyshev
from scipy.special import stdtr
from scipy.stats import studentized_range

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere
sys.path.append(str(Path(__file__).resolve().parent))  # last, so that bench/metrics.py does not hide the package

import trial_races

from dnnlib.command import run_command
from dnnlib.files import atomic_path
from metrics.against_best import LEVEL, POWER, Contrast, contrast, detectable, factor_of

NUM_NODES = 6  # a quantile is interpolated in 1 / nu between this many points
MAX_FREEDOM = 100.0
# Standard deviations of six rows after 5 kimg (bench/results/compare.md at 82cbb23), two seeds each, as fractions of
# the metric.
RECORD = np.array([0.042, 0.0025, 0.029, 0.030, 0.0003, 0.026])
SPREAD = 0.05  # standard deviation of every row in draws with equal spreads, and in those that measure power
WORSE = math.log(1.3)
CHUNK = 500  # draws whose variances are moderated at once: 100 MB
NUM_ROWS, NUM_SEEDS = (2, 4, 6, 8), (2, 3, 5)


@dataclass(frozen=True)
class Draws:
    """Moments of simulated rows. means, variances: float64 [R, K]; counts: n of the rows, float64 [K]."""

    means: np.ndarray
    variances: np.ndarray
    counts: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """Index of the best row of every draw, int64 [R]."""
        return self.means.argmin(axis=1)

    @property
    def gaps(self) -> np.ndarray:
        """Distances from the best row, float64 [R, K]."""
        return self.means - self.means.min(axis=1, keepdims=True)

    @functools.cached_property
    def moderated(self) -> Contrast:
        """Differences from the best row with moderated variances, each float64 [R, K]."""
        parts = [
            contrast(self.means[i : i + CHUNK], self.variances[i : i + CHUNK], self.counts, self.best[i : i + CHUNK])
            for i in range(0, len(self.means), CHUNK)
        ]
        return Contrast(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def spreads(kind: str, num_rows: int) -> np.ndarray:
    """Returns the standard deviations of the rows, float64 [K]."""
    extreme = RECORD[[0, 4]]  # the largest and the smallest of the record
    return {
        'equal': np.full(num_rows, SPREAD),
        'record': {2: extreme, 4: RECORD[[0, 1, 2, 4]], 6: RECORD, 8: np.append(RECORD, extreme)}[num_rows],
        'one large': np.append(SPREAD, np.full(num_rows - 1, SPREAD / 100)),
        'one small': np.append(SPREAD / 100, np.full(num_rows - 1, SPREAD)),
        'falling': SPREAD * np.geomspace(1, 0.1, num_rows),
    }[kind]


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Returns normal errors of variance 1."""
    return rng.standard_normal(shape)


def heavy(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Returns errors of Student's distribution with 4 degrees of freedom, of variance 1."""
    return rng.standard_t(4, shape) / math.sqrt(2)


def skewed(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Returns errors of a chi² distribution with 4 degrees of freedom, centered, of variance 1: a few runs are bad."""
    return (rng.chisquare(4, shape) - 4) / math.sqrt(8)


def simulate(
    rng: np.random.Generator,
    num_draws: int,
    means: np.ndarray,
    sds: np.ndarray,
    counts: tuple[int, ...],
    errors: Callable[[np.random.Generator, tuple[int, int]], np.ndarray] = normal,
) -> Draws:
    """Simulates rows.

    Args:
        rng: Generator of the draws.
        num_draws: R.
        means: Expectations of the rows, float64 [K].
        sds: Standard deviations of the rows, float64 [K].
        counts: n of the rows.
        errors: Distribution of the errors.

    Returns:
        Moments of the simulated values.
    """
    rows = [m + sd * errors(rng, (num_draws, n)) for m, sd, n in zip(means, sds, counts, strict=True)]  # [R, n] each
    moments = [(row.mean(axis=1), row.var(axis=1, ddof=1)) for row in rows]
    return Draws(*(np.stack(moment, axis=1) for moment in zip(*moments, strict=True)), np.array(counts, dtype=float))


# ---- tests; each returns the rows that are called worse, bool [R, K]


@functools.cache
def _fit(level: float, num_rows: int) -> np.ndarray:
    """Returns the Chebyshev coefficients of the logarithm of a quantile in 1 / nu, from 1 / MAX_FREEDOM to 1."""
    nodes = np.cos(np.pi * (np.arange(NUM_NODES) + 0.5) / NUM_NODES)
    inverse = (nodes + 1) / 2 * (1 - 1 / MAX_FREEDOM) + 1 / MAX_FREEDOM
    found = [math.log(studentized_range.isf(level, num_rows, 1 / x)) for x in inverse]
    return chebyshev.chebfit(nodes, found, NUM_NODES - 1)


def quantile(level: float, num_rows: int, freedom: np.ndarray) -> np.ndarray:
    """Returns upper quantiles of the studentized range, to 1 %; SciPy takes too long for a million of them."""
    inverse = 1 / np.clip(freedom, 1, MAX_FREEDOM)
    nodes = (inverse - 1 / MAX_FREEDOM) / (1 - 1 / MAX_FREEDOM) * 2 - 1
    return np.exp(chebyshev.chebval(nodes, _fit(level, num_rows)))


def _welch(draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Returns the standard errors of the gaps and Welch's degrees of freedom, each float64 [R, K]."""
    g = draws.variances / draws.counts
    best = draws.best[:, None]
    g_best, d_best = np.take_along_axis(g, best, 1), draws.counts[best] - 1
    return np.sqrt(g + g_best), (g + g_best) ** 2 / (g**2 / (draws.counts - 1) + g_best**2 / d_best)


def welch_holm(draws: Draws) -> np.ndarray:
    """Welch's test against the best row, with Holm's correction for the number of the others."""
    error, nu = _welch(draws)
    p = 2 * stdtr(nu, -draws.gaps / error)
    np.put_along_axis(p, draws.best[:, None], 2.0, 1)  # the best row comes last
    order = p.argsort(axis=1)
    others = p.shape[1] - 1
    steps = np.take_along_axis(p, order, 1)[:, :others] * np.arange(others, 0, -1)
    found = np.zeros(p.shape, dtype=bool)
    np.put_along_axis(found, order[:, :others], np.maximum.accumulate(steps, axis=1) < LEVEL, 1)
    return found


def games_howell(draws: Draws) -> np.ndarray:
    """Welch's t with the quantile of the studentized range."""
    error, nu = _welch(draws)
    return draws.gaps * math.sqrt(2) > quantile(LEVEL, draws.means.shape[1], nu) * error


def smallest_freedom(draws: Draws) -> np.ndarray:
    """Games and Howell's test with the degrees of freedom of one row."""
    error, nu = _welch(draws)
    return draws.gaps * math.sqrt(2) > quantile(LEVEL, draws.means.shape[1], 0 * nu + draws.counts.min() - 1) * error


def tukey(draws: Draws) -> np.ndarray:
    """Tukey's test, with one pooled variance (and equal numbers of seeds)."""
    d = draws.counts - 1
    pooled = (draws.variances * d).sum(axis=1, keepdims=True) / d.sum()
    return draws.gaps > quantile(LEVEL, len(d), d.sum()) * np.sqrt(pooled / draws.counts.mean())


def moderated(draws: Draws, level: float = LEVEL) -> np.ndarray:
    """Games and Howell's test with moderated variances."""
    value, unit, nu = draws.moderated
    return value > quantile(level, len(draws.counts), nu) * unit


def of_trials(draws: Draws) -> np.ndarray:
    """The test of metrics/trials.py: moderated variances, and the factor that makes up for their estimation."""
    return moderated(draws, LEVEL / factor_of(int(draws.counts.min())))


TESTS: dict[str, Callable[[Draws], np.ndarray]] = {
    'Welch + Holm': welch_holm,
    'Tukey, pooled': tukey,
    'Games-Howell': games_howell,
    'Games-Howell, nu of one row': smallest_freedom,
    'moderated, factor 1': moderated,
    '**moderated**': of_trials,
}


# ---- tables


def false_verdicts(draws: Draws) -> list[float]:
    """Returns the percentage of draws in which any row is called worse, per test."""
    return [100 * float(test(draws).any(axis=1).mean()) for test in TESTS.values()]


def found(draws: Draws, means: np.ndarray) -> list[float]:
    """Returns the percentage of the worse rows that are called worse, per test."""
    return [100 * float(test(draws)[:, means > 0].mean()) for test in TESTS.values()]


def level_tables(num_draws: int) -> list[str]:
    """Returns false verdicts at equal spreads, at those of the record, and the worst case of other conditions."""
    lines: list[str] = []
    worst: dict[str, np.ndarray] = {}
    conditions = [(kind, normal) for kind in ('equal', 'record', 'one large', 'one small', 'falling')]
    for kind, errors in [*conditions, ('equal', heavy), ('equal', skewed)]:
        required = kind in ('equal', 'record') and errors is normal
        if required:
            lines += ['', f'### False verdicts, {kind} spreads, percent', '', *_head('rows × seeds')]
        for n in NUM_SEEDS:
            for k in NUM_ROWS:
                rng = np.random.default_rng([k, n])
                result = false_verdicts(simulate(rng, num_draws, np.zeros(k), spreads(kind, k), (n,) * k, errors))
                if required:
                    lines.append(_line(f'{k} × {n}', result))
                name = kind if errors is normal else f'{kind}, {errors.__name__} errors'
                worst[name] = np.maximum(worst.get(name, np.zeros(len(TESTS))), result)
    uneven = simulate(np.random.default_rng(0), num_draws, np.zeros(6), spreads('record', 6), (5, 2, 3, 5, 3, 2))
    worst['record, 5, 2, 3, 5, 3 and 2 seeds'] = np.array(false_verdicts(uneven))
    lines += ['', '### False verdicts, the worst of these numbers of rows and seeds, percent', '', *_head('spreads')]
    return lines + [_line(name, list(result)) for name, result in worst.items()]


def power_table(num_draws: int) -> list[str]:
    """Returns the rows 30 % worse that are found at a spread of 5 %."""
    lines = ['', '### Rows 30 % worse that are found, spread 5 %, percent', '', *_head('rows × seeds')]
    for n in NUM_SEEDS:
        for k in NUM_ROWS:
            for name, means in (
                ('one good row', np.append(0.0, np.full(k - 1, WORSE))),
                ('one bad row', np.append(np.zeros(k - 1), WORSE)),
            ):
                if k > 2 or name == 'one good row':
                    draws = simulate(np.random.default_rng([k, n]), num_draws, means, spreads('equal', k), (n,) * k)
                    lines.append(_line(f'{k} × {n}, {name}', found(draws, means)))
    return lines


def resolution_table(num_draws: int) -> list[str]:
    """Returns how often the difference is found that a verdict promises to be found with a probability of POWER."""
    lines = [
        '',
        f'### Promises: a difference that should be found in {100 * POWER:.0f} % of draws, spread 5 %',
        '',
        '| rows × seeds | difference | found, one bad row |',
        '|---|---|---|',
    ]
    for n in (*NUM_SEEDS, 10):
        for k in NUM_ROWS:
            shift = detectable(SPREAD, k, n)
            means = np.append(np.zeros(k - 1), shift)
            draws = simulate(np.random.default_rng([k, n]), num_draws, means, spreads('equal', k), (n,) * k)
            share = float(of_trials(draws)[:, -1].mean())
            lines.append(f'| {k} × {n} | {100 * math.expm1(shift):.1f} % | {100 * share:.0f} % |')
    return lines


def _head(first: str) -> list[str]:
    return [f'| {first} | {" | ".join(TESTS)} |', '|---' * (len(TESTS) + 1) + '|']


def _line(name: str, result: list[float]) -> str:
    return f'| {name} | {" | ".join(f"{value:.1f}" for value in result)} |'


@click.command()
@click.option('--draws', default=2000, show_default=True, help='Draws of every condition.')
@click.option('--races', default=2000, show_default=True, help='Races of every condition.')
@click.option('--out', default='trials.md', show_default=True, type=click.Path(path_type=Path))
def main(draws: int, races: int, out: Path) -> None:
    """Simulates tests and races, prints the tables and writes them."""
    lines = [
        '# Verdicts over training seeds: which test, and what halving loses',
        '',
        f'`python bench/trials.py --draws={draws} --races={races}`, {platform.machine()}, NumPy {np.__version__},',
        f'SciPy {scipy.__version__}.',
        'All numbers are simulated; [docs/compare.md](../../docs/compare.md) explains the choice.',
        *level_tables(draws),
        *power_table(draws),
        *resolution_table(draws),
        *trial_races.tables(races, of_trials, Draws),
    ]
    text = '\n'.join(lines) + '\n'
    print(text)
    with atomic_path(out) as tmp:
        Path(tmp).write_text(text)


if __name__ == '__main__':
    run_command(main)
