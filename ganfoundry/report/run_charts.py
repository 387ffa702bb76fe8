"""Charts of one or more runs: metrics with their errors, and statistics over the ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dnnlib.errors import ConfigError
from ganfoundry.report.charts import Chart, Series, identifier
from ganfoundry.report.reduction import reduced
from ganfoundry.report.run_reading import RunReading

ERRORS = ('_std', '_low95', '_high95')  # ends of the names of a number's errors, see metrics/uncertainty.py
PHASES = ('Gmain', 'Greg', 'Dmain', 'Dreg', 'ema')  # Timing/PHASE in milliseconds

# (section, title, statistics by their label). A chart of which no run has a statistic is left out.
FIXED = (
    ('Losses', 'Losses', {'G': 'Loss/G/loss', 'D': 'Loss/D/loss'}),
    ('Losses', 'Logits of D', {'real': 'Loss/scores/real', 'generated': 'Loss/scores/fake'}),
    ('Discriminator', 'Signs of D', {'real': 'Loss/signs/real', 'generated': 'Loss/signs/fake'}),
    ('Discriminator', 'Augmentation strength p', {'p': 'Progress/augment', 'at its cap': 'Progress/augment_at_cap'}),
    ('Speed and memory', 'Seconds per kimg', {'sec/kimg': 'Timing/sec_per_kimg'}),
    ('Speed and memory', 'Milliseconds per phase', {name: f'Timing/{name}' for name in PHASES}),
    ('Speed and memory', 'Seconds between ticks', {'all': 'Timing/maintenance_sec', 'last save': 'Timing/save_sec'}),
    (
        'Speed and memory',
        'Memory in GiB',
        {
            'CPU, peak': 'Resources/cpu_mem_gb',
            'CPU, now': 'Resources/cpu_mem_now_gb',
            'GPU, peak': 'Resources/peak_gpu_mem_gb',
            'GPU, reserved': 'Resources/peak_gpu_mem_reserved_gb',
        },
    ),
)  # fmt: skip
HEALTH = {
    'Share of steps that were not finite': 'Health/nonfinite_steps',
    'Share of steps beyond the range of float16': 'Health/overflow_steps',
    'Rollbacks': 'Health/rollbacks',
    'Failed metrics': 'Health/failed_metrics',
    'Bad images': 'Data/bad_images',
    'Replaced workers': 'Data/replaced_workers',
}
DRAWN = {stat for _, _, stats in FIXED for stat in stats.values()}


@dataclass(frozen=True, kw_only=True, slots=True)
class TickCurve:
    """A statistic of a run in a chart. run: index of the run. name: in the legend."""

    run: int
    stat: str
    name: str
    dashed: bool = False
    color: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TickChart:
    """A chart of statistics over the ticks, from which the chart itself and its newest points are made."""

    section: str
    title: str
    curves: Sequence[TickCurve]

    def chart(self, runs: Sequence[RunReading]) -> Chart:
        """Returns the chart, with as many points as a page can show."""
        series, groups = [], []
        for curve in self.curves:
            nimg, values = runs[curve.run].ticks.series(curve.stat)
            few = reduced(nimg / 1000, values)
            groups.append(few.group)
            series.append(
                Series(
                    name=curve.name,
                    x=few.x.tolist(),
                    y=few.y.tolist(),
                    low=few.low.tolist(),
                    high=few.high.tolist(),
                    color=curve.color,
                    dashed=curve.dashed,
                )
            )
        most = max(groups)
        note = f'A point is the mean of up to {most} ticks; the band is their range.' if most > 1 else ''
        return Chart(title=self.title, series=series, note=note)

    def points(self, runs: Sequence[RunReading], run: int, first: int) -> list[dict[str, Any]]:
        """Returns the points of a run from tick `first` on, per curve, as the page's script appends them."""
        found = []
        for index, curve in enumerate(self.curves):
            if curve.run == run:
                nimg, values = runs[run].ticks.series(curve.stat, first)
                if len(nimg):
                    data = Series(name='', x=(nimg / 1000).tolist(), y=values.tolist()).data()
                    found.append({'chart': identifier(self.title), 'series': index, 'points': data})
        return found


def tick_charts(runs: Sequence[RunReading]) -> list[TickChart]:
    """Returns the charts of statistics that the runs have, without the points."""
    known = [run.ticks.names() for run in runs]
    plans = [*FIXED]
    for name in dict.fromkeys(name for names in known for name in names):
        if name.startswith('Loss/') and name not in DRAWN:
            plans.append(('Losses', name.removeprefix('Loss/'), {name.removeprefix('Loss/'): name}))
    for title, stat in HEALTH.items():
        if any(_ever(run, stat) for run in runs):
            plans.append(('Health', title, {title.lower(): stat}))
    charts = []
    for section, title, stats in plans:
        curves = [
            _curve(runs, index, stat, label, number, len(stats))
            for index, names in enumerate(known)
            for number, (label, stat) in enumerate(stats.items())
            if stat in names
        ]
        if curves:
            charts.append(TickChart(section=section, title=title, curves=curves))
    return charts


def _curve(runs: Sequence[RunReading], run: int, stat: str, label: str, number: int, count: int) -> TickCurve:
    """Returns a curve: of one run colored by its statistic, of several by the run and dashed after the first.

    Args:
        runs: The runs.
        run: Index of the run.
        stat: Name of the statistic.
        label: Its label in the chart.
        number: Its position in the chart.
        count: Number of statistics of the chart.
    """
    if len(runs) == 1:
        return TickCurve(run=run, stat=stat, name=label, color=number)
    name = runs[run].name if count == 1 else f'{runs[run].name}: {label}'
    return TickCurve(run=run, stat=stat, name=name, color=run, dashed=number > 0)


def _ever(run: RunReading, stat: str) -> bool:
    """Whether a statistic was ever other than 0."""
    return stat in run.ticks.names() and bool(np.any(np.nan_to_num(run.ticks.series(stat)[1], nan=1)))


def metric_charts(runs: Sequence[RunReading]) -> list[Chart]:
    """Returns one chart per number that a metric of any run has, with its errors and the best value marked."""
    series: dict[str, list[Series]] = {}
    for index, run in enumerate(runs):
        name = 'value' if len(runs) == 1 else run.name
        for metric, lines in run.metrics.items():
            keys = list(dict.fromkeys(key for line in lines for key in line['results']))
            for position, key in enumerate(key for key in keys if not is_error(key, keys)):
                curve = _metric_series(lines, key, name, metric if position == 0 else None, index)
                series.setdefault(key, []).append(curve)
    return [Chart(title=key, series=curves, note=_direction_note(key)) for key, curves in series.items()]


def _metric_series(lines: list[dict[str, Any]], key: str, name: str, metric: str | None, color: int) -> Series:
    """Returns the curve of a number of a metric.

    Args:
        lines: Lines of the metric, sorted by nimg.
        key: The number.
        name: Name of the curve.
        metric: Name of the metric if the number decides about its best line, else None.
        color: Index of the color.
    """
    lines = [line for line in lines if key in line['results']]
    y = [float(line['results'][key]) for line in lines]
    ends = {end: [float(line['results'].get(f'{key}{end}', math.nan)) for line in lines] for end in ERRORS[1:]}
    has_errors = any(math.isfinite(value) for values in ends.values() for value in values)
    lower = None if metric is None else lower_is_better(metric)
    best = None
    if lower is not None and (finite := [index for index, value in enumerate(y) if math.isfinite(value)]):
        best = (min if lower else max)(finite, key=lambda index: y[index])
    return Series(
        name=name,
        x=[line['nimg'] / 1000 for line in lines],
        y=y,
        low=ends['_low95'] if has_errors else (),
        high=ends['_high95'] if has_errors else (),
        points=True,
        best=best,
        color=color,
    )


def is_error(key: str, keys: Sequence[str]) -> bool:
    """Whether a number of a metric is the error of another; `is50k_std` is a number, since there is no `is50k`."""
    return any(key.endswith(end) and key.removesuffix(end) in keys for end in ERRORS)


def lower_is_better(metric: str) -> bool | None:
    """Returns the direction of a metric; None for one that only a plug-in of its run knows."""
    from metrics.spec import parse_metric

    try:
        return parse_metric(metric).lower_is_better
    except ConfigError:
        return None


def _direction_note(key: str) -> str:
    lower = lower_is_better(key)
    return '' if lower is None else f'{"Lower" if lower else "Higher"} is better.'
