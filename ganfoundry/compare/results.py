"""Results of the runs of a comparison, read from their folders.

A run that reached its end has collapsed by either of two rules:

- its samples differ among each other less than `MIN_DIVERSITY` times as much as real images do. Diversity is the mean
  over all pairs of samples of a class of the root of the mean squared difference of their pixels; it is compared class
  by class, and averaged;
- its metric is worse at the end than at the first measurement after a third of the run, by more than `TOLERANCE`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from dnnlib.errors import UserError
from dnnlib.files import read_jsonl
from ganfoundry.compare.job import Job
from ganfoundry.compare.plan import Plan
from ganfoundry.compare.samples import draw_samples, sample_diversity
from metrics.spec import parse_metric
from training.record import from_record
from training.run.lines import first_result
from training.run.run_folder import RunFolder
from training.sizes import network_sizes

MIN_DIVERSITY = 0.5
TOLERANCE = 0.1  # fraction of the metric a third of the way, above the variation between measurements

Curve = list[tuple[float, float]]  # (kimg, value)


@dataclass(kw_only=True, slots=True)
class Result:
    """Result of a run. None: no such number.

    Attributes:
        seed: Its training seed.
        state: As in `Outcome`, but 'finished' becomes 'done' or 'collapsed', and 'paused' of a dropped row 'dropped'.
        reason: What went wrong, or ''.
        folder: The run folder, if there is one.
        curves: (kimg, value) of every metric.
        ends: Value at the end, by metric.
        best: Best value of the metric that decides.
        diversity: Diversity of the samples within a class relative to that of real images, mean over the classes.
        least_diversity: The same of the class in which it is least.
        seconds: Training time, measurements included.
        sec_per_kimg: Median over ticks, without measurements.
        memory_gb: Peak.
    """

    seed: int
    state: str
    reason: str
    folder: str | None = None
    curves: dict[str, Curve] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    diversity: float | None = None
    least_diversity: float | None = None
    seconds: float | None = None
    sec_per_kimg: float | None = None
    memory_gb: float | None = None


def lower_is_better(metric: str | None) -> bool:
    """Whether a lower value of a metric is better."""
    return metric is None or parse_metric(metric).lower_is_better


def end_of(curve: Curve, kimg: int, plan: Plan) -> float | None:
    """Returns the value at the end of a run, None if it is not measured yet. With --hours the newest value is the end.

    Args:
        curve: (kimg, value), ascending.
        kimg: Length of the run.
        plan: The plan.
    """
    if not curve or (plan.budget != 'hours' and curve[-1][0] < kimg):
        return None
    return curve[-1][1]


def collapse(curve: Curve, lower: bool, samples_to_real: float | None) -> str:
    """Returns the reason why a finished run has collapsed, by the rules at the top of the file, or ''.

    Args:
        curve: (kimg, value), ascending.
        lower: Whether a lower value is better.
        samples_to_real: Diversity of its samples, relative to that of real images; None: unknown.
    """
    reasons = []
    if samples_to_real is not None and samples_to_real < MIN_DIVERSITY:
        reasons.append(f'its samples differ {samples_to_real:.2f} times as much as real images (< {MIN_DIVERSITY})')
    if curve:
        end_kimg, end = curve[-1]
        third_kimg, third = next(point for point in curve if point[0] >= end_kimg / 3)
        if (end - third if lower else third - end) > TOLERANCE * abs(third):
            reasons.append(f'its metric went from {third:.4g} at {third_kimg:.3g} kimg to {end:.4g} at the end')
    return '; '.join(reasons)


def read_result(job: Job, plan: Plan, reals: torch.Tensor, labels: torch.Tensor) -> tuple[Result, torch.Tensor | None]:
    """Returns the numbers of a run, and its newest samples if there are any.

    Args:
        job: The job.
        plan: The plan.
        reals: Real images, as in `real_samples`.
        labels: Their labels, which the samples have too.
    """
    outcome, folder = job.outcome(), job.run_folder()
    result = Result(seed=job.seed, state=outcome.state, reason=outcome.reason)
    if folder is None:
        return result, None
    result.folder = str(folder.path)
    # The first tick is one step, and warms up.
    lines = read_jsonl(folder.stats)
    if ticks := [line for line in lines if line['Progress/tick']['mean'] > 0]:
        result.sec_per_kimg = statistics.median(line['Timing/sec_per_kimg']['mean'] for line in ticks)
        memory = 'Resources/peak_gpu_mem_gb' if 'Resources/peak_gpu_mem_gb' in ticks[0] else 'Resources/cpu_mem_gb'
        result.memory_gb = max(line[memory]['mean'] for line in ticks)
        result.seconds = job.seconds()
    lower = lower_is_better(plan.metric)
    for metric in plan.metrics:
        curve = [(line['nimg'] / 1000, first_result(line)) for line in folder.curve(metric)]
        result.curves[metric] = curve
        if (end := end_of(curve, job.kimg, plan)) is not None:
            result.ends[metric] = end
    curve = result.curves.get(plan.metric or '', [])
    result.best = (min if lower else max)((value for _, value in curve), default=None)
    samples = None
    try:
        if snapshots := folder.snapshots():
            samples = draw_samples(snapshots[-1], labels)
            if (found := sample_diversity(samples, reals, labels)) is not None:
                result.diversity, result.least_diversity = found.mean, found.least
    except UserError as error:
        result.state, result.reason = 'failed', f'its samples cannot be drawn: {error}'
    if result.state == 'finished':
        result.reason = collapse(curve, lower, result.diversity)
        result.state = 'collapsed' if result.reason else 'done'
    return result, samples


def sizes_of(folder: RunFolder) -> dict[str, dict[str, int]]:
    """Returns the parameters of G and D of a run, and their multiply-adds for one image."""
    sizes = network_sizes(*from_record(folder.record()))
    return {
        'parameters': {name: size.parameters for name, size in sizes.items()},
        'macs': {name: size.macs for name, size in sizes.items()},
    }


def mean_end(results: Sequence[Result], metric: str) -> tuple[float | None, float | None]:
    """Returns the mean of a metric at the end and its standard deviation over the runs that have a value."""
    ends = [result.ends[metric] for result in results if metric in result.ends]
    if not ends:
        return None, None
    return statistics.mean(ends), statistics.stdev(ends) if len(ends) > 1 else None


def over_runs(results: Sequence[Result], name: str, take: Any) -> float | None:
    """Returns a number over the runs that have it.

    Args:
        results: The runs of a row.
        name: Field of `Result`.
        take: Function of a list of numbers, such as `max`.
    """
    values = [value for result in results if (value := getattr(result, name)) is not None]
    return take(values) if values else None
