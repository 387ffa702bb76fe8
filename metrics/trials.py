"""Statistics over training seeds: the best row of a comparison, and the rows that differ from it by more than chance.

A row is a generator, trained once from each of several seeds; its trials are the values of a metric at the ends of
those runs. The test works on the logarithm of the metric. A metric with a value that is not positive, such as KID, is
tested on its own scale, and differences take the place of ratios. `metrics.compare` answers another question: whether
two networks differ by more than the noise of their measurement.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dnnlib.errors import DataError
from metrics.against_best import LEVEL, POWER, detectable, pooled_sd, seeds_for, subtract_best

Scale = Literal['log', 'linear']
Status = Literal['best', 'tied', 'worse', 'collapsed', 'untested']


@dataclass(frozen=True, kw_only=True, slots=True)
class Trials:
    """The runs of one row, one per seed.

    Attributes:
        label: Name of the row.
        values: The metric at the end of every run that has one, those of collapsed runs included.
        collapsed: Number of runs with a value that have collapsed.
        diverged: Number of runs that have diverged, and so have no value.
    """

    label: str
    values: tuple[float, ...]
    collapsed: int = 0
    diverged: int = 0

    @property
    def num_runs(self) -> int:
        """Number of runs that have ended, well or not."""
        return len(self.values) + self.diverged

    @property
    def is_collapsed(self) -> bool:
        """Whether at least half of the runs have collapsed or diverged."""
        return 0 < self.num_runs <= 2 * (self.collapsed + self.diverged)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The result of one row. Intervals have a confidence of 95 %.

    Attributes:
        label: Name of the row.
        status: 'best'; 'tied', not distinguishable from the best; 'worse' than the best; 'collapsed' and 'untested'
            rows are not part of the test.
        num_values: Number of its values.
        mean: Geometric mean of the values, or their mean on the linear scale; None without values.
        sd: Standard deviation of the logarithms (0.05 is 5 %), or of the values on the linear scale; None for one.
        interval: Student's interval of the mean, in the metric's unit; None for one value.
        ratio: mean / best's mean, or the difference on the linear scale; None unless the row is tested.
        ratio_interval: Interval of the ratio, simultaneous for all rows: it excludes 1 (0 on the linear scale) if and
            only if the row is worse; None for the best.
        p: Probability, under equal rows, of a difference at least as large between the best and any row; None for the
            best.
        reason: Why a row has collapsed or is not tested, else what else is to be known about its runs, or ''.
    """

    label: str
    status: Status
    num_values: int
    mean: float | None = None
    sd: float | None = None
    interval: tuple[float, float] | None = None
    ratio: float | None = None
    ratio_interval: tuple[float, float] | None = None
    p: float | None = None
    reason: str = ''


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """The difference that some number of seeds would show with a probability of `POWER`.

    Attributes:
        num_seeds: Seeds per row.
        difference: Fraction of the best (0.12 is 12 %), or a difference in the metric's unit on the linear scale.
        sd: The standard deviation that this rests on, pooled over rows; see `Standing.sd`.
    """

    num_seeds: int
    difference: float
    sd: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The result of a comparison.

    Attributes:
        metric: Name of the metric.
        lower_is_better: Direction of the metric.
        scale: Scale of the test.
        standings: The tested rows from the best to the worst, then the collapsed ones, then the untested ones.
        resolution: Seeds that would tell the tied rows apart; None if no row is tied.
        no_verdict: Why there is no verdict, or ''. Then no row is 'best', 'tied' or 'worse'.
    """

    metric: str
    lower_is_better: bool
    scale: Scale
    standings: tuple[Standing, ...]
    resolution: Resolution | None = None
    no_verdict: str = ''

    def rows(self, status: Status) -> list[Standing]:
        """Returns the rows of one status, the better ones first."""
        return [standing for standing in self.standings if standing.status == status]

    def sentences(self) -> list[str]:
        """Returns the verdict in words: best, tied, worse, collapsed and untested rows, one sentence for each."""
        said = [f'No verdict: {self.no_verdict}.'] if self.no_verdict else self._said_of_best()
        if worse := [f'{row.label} by {self.interval_of(row)}' for row in self.rows('worse')]:
            said.append(f'Worse than {self.rows("best")[0].label}: {", ".join(worse)}.')
        for title, rows in (('Collapsed', self.rows('collapsed')), ('Not tested', self.rows('untested'))):
            if rows:
                said.append(f'{title}: {", ".join(f"{row.label} ({row.reason})" for row in rows)}.')
        return said

    def amount(self, ratio: float) -> str:
        """Returns a ratio to the best as a difference in percent, on the linear scale a difference in its own unit."""
        if self.scale == 'linear':
            return f'{ratio:+.2g}'
        percent = 100 * (ratio - 1)
        return f'{percent:+.{0 if abs(percent) >= 9.95 else 1}f} %'

    def interval_of(self, row: Standing) -> str:
        """Returns the difference of a tested row from the best one, with its interval, as text."""
        assert row.ratio is not None
        assert row.ratio_interval is not None
        low, high = map(self.amount, row.ratio_interval)
        return f'{self.amount(row.ratio)} ({low} to {high})'

    def _said_of_best(self) -> list[str]:
        """Returns the sentence about the best row and the rows that are tied with it."""
        (best,), tied = self.rows('best'), self.rows('tied')
        said = f'{self.metric} {best.mean:.4g}, {best.num_values} seeds'
        if self.resolution is None:
            return [f'{best.label} is the best ({said}).']
        shown = self.resolution.difference + (1 if self.scale == 'log' else 0)
        return [
            f'{best.label} has the best mean ({said}), but {", ".join(row.label for row in tied)} cannot be told apart '
            f'from it: {self.resolution.num_seeds} seeds would show a difference of '
            f'{self.amount(shown).removeprefix("+")} with a probability of {100 * POWER:.0f} %.'
        ]


def judge(trials: Sequence[Trials], *, metric: str, lower_is_better: bool, scale: Scale | None = None) -> Verdict:
    """Compares every row with the best one.

    Args:
        trials: The rows, with distinct labels.
        metric: Name of the metric, for the sentences.
        lower_is_better: Direction of the metric.
        scale: Scale of the test; by default 'log' if all values are positive, else 'linear'.

    Returns:
        The verdict. There is none, in words, unless two rows have at least two values that differ.

    Raises:
        DataError: A value is NaN or infinite, or scale='log' and a value is not positive.
    """
    assert len({row.label for row in trials}) == len(trials)
    scale = _checked_scale(trials, metric, scale)
    aside = [_describe(row, scale, *outcome) for row in trials if (outcome := _set_aside(row)) is not None]
    aside.sort(key=lambda row: row.status)  # 'collapsed', then 'untested'
    tested = [row for row in trials if _set_aside(row) is None]
    if len(tested) < 2:
        alone = [_describe(row, scale, 'untested', 'no other row can be tested') for row in tested]
        return Verdict(
            metric=metric,
            lower_is_better=lower_is_better,
            scale=scale,
            standings=(*aside, *alone),
            no_verdict='it needs two rows of at least two seeds each that have not collapsed',
        )
    standings, resolution = _test(tested, scale, lower_is_better)
    return Verdict(
        metric=metric,
        lower_is_better=lower_is_better,
        scale=scale,
        standings=(*standings, *aside),
        resolution=resolution,
    )


def _test(tested: Sequence[Trials], scale: Scale, lower_is_better: bool) -> tuple[list[Standing], Resolution | None]:
    """Returns the tested rows from the best to the worst, and the seeds that would tell the tied ones apart."""
    samples = [_on_scale(row.values, scale) for row in tested]
    order = sorted(range(len(tested)), key=lambda i: float(samples[i].mean()), reverse=not lower_is_better)
    differences = subtract_best(samples, order[0])
    standings = []
    for i in order:
        if i == order[0]:
            standings.append(dataclasses.replace(_describe(tested[i], scale, 'best'), ratio=_ratio(0.0, scale)))
            continue
        found = differences[i]
        low, high = (_ratio(found.value + sign * found.margin, scale) for sign in (-1, 1))
        standing = _describe(tested[i], scale, 'worse' if found.significant else 'tied')
        standings.append(
            dataclasses.replace(standing, ratio=_ratio(found.value, scale), ratio_interval=(low, high), p=found.p)
        )
    tied = [abs(differences[i].value) for i in order[1:] if not differences[i].significant]
    if not tied:
        return standings, None
    sd = pooled_sd(samples)
    most = max(len(sample) for sample in samples)
    num_seeds = max(seeds_for(max(tied), sd, len(samples)), most + 1)
    difference = detectable(sd, len(samples), num_seeds)
    return standings, Resolution(
        num_seeds=num_seeds, difference=math.expm1(difference) if scale == 'log' else difference, sd=sd
    )


def _checked_scale(trials: Sequence[Trials], metric: str, scale: Scale | None) -> Scale:
    """Returns the scale of the test; raises DataError for a value that cannot be used."""
    for row in trials:
        for value in row.values:
            if not math.isfinite(value):
                raise DataError(f'{row.label}: {metric} is {value} in one of its runs; count that run as diverged')
            if scale == 'log' and value <= 0:
                raise DataError(f"{row.label}: {metric} is {value}, which has no logarithm; use scale='linear'")
    positive = all(value > 0 for row in trials for value in row.values)
    return scale or ('log' if positive else 'linear')


def _set_aside(row: Trials) -> tuple[Status, str] | None:
    """Returns the status of a row that is not tested, and the reason; None for a row to test."""
    lost = row.collapsed + row.diverged
    if row.is_collapsed:
        return 'collapsed', f'{lost} of {row.num_runs} runs'
    if len(row.values) < 2:
        return 'untested', 'one seed shows no spread' if row.values else 'no run has a value'
    if min(row.values) == max(row.values):
        return 'untested', f'{len(row.values)} seeds gave the same {row.values[0]:.4g}: no spread to test against'
    return None


def _on_scale(values: Sequence[float], scale: Scale) -> np.ndarray:
    """Returns the values on the scale of the test, float64 [n]."""
    array = np.array(values, dtype=np.float64)
    return np.log(array) if scale == 'log' else array


def _ratio(difference: float, scale: Scale) -> float:
    """Returns a difference on the scale of the test as a ratio of means; on the linear scale it stays."""
    return math.exp(difference) if scale == 'log' else difference


def _describe(row: Trials, scale: Scale, status: Status, reason: str = '') -> Standing:
    """Returns the standing of one row without a comparison."""
    lost = row.collapsed + row.diverged
    if lost and not reason:
        reason = f'{lost} of {row.num_runs} runs collapsed or diverged'
    if not row.values:
        return Standing(label=row.label, status=status, num_values=0, reason=reason)
    sample = _on_scale(row.values, scale)
    mean, n = float(sample.mean()), len(sample)
    sd = float(sample.std(ddof=1)) if n > 1 else None
    interval = None
    if sd is not None:
        from scipy.special import stdtrit  # here: SciPy is slow to import

        margin = sd / math.sqrt(n) * float(stdtrit(n - 1, 1 - LEVEL / 2))
        interval = _ratio(mean - margin, scale), _ratio(mean + margin, scale)
    return Standing(
        label=row.label,
        status=status,
        num_values=n,
        mean=_ratio(mean, scale),
        sd=sd,
        interval=interval,
        reason=reason,
    )
