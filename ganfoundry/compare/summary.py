"""Summary of a comparison: one record per row, the verdict over seeds, and what is written of both."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ganfoundry.compare.job import Job
from ganfoundry.compare.plan import Plan
from ganfoundry.compare.results import (
    Result,
    lower_is_better,
    mean_end,
    over_runs,
    read_result,
    sizes_of,
)
from ganfoundry.compare.rows import Row
from ganfoundry.compare.rungs import Rung
from ganfoundry.compare.samples import real_samples
from metrics.trials import Standing, Trials, Verdict, judge
from training.data.dataset import ImageDataset


@dataclass(frozen=True, kw_only=True, slots=True)
class RowSummary:
    """Summary of one row.

    Attributes:
        row: The row.
        results: Its runs, in the order of the seeds.
        ends: Mean and standard deviation at the end, by metric.
        best: Mean over seeds of the best value of the metric that decides.
        sizes: 'parameters' and 'macs' of G and D; None before a run has begun.
        seconds: Mean training time of a finished run.
        sec_per_kimg: Mean over runs.
        memory_gb: Largest of the runs.
        diversity: Least of the runs, relative to real images.
        standing: Its place in the verdict; None without a metric, and for a row that was dropped.
    """

    row: Row
    results: tuple[Result, ...]
    ends: dict[str, tuple[float | None, float | None]]
    best: float | None
    sizes: dict[str, dict[str, int]] | None
    seconds: float | None
    sec_per_kimg: float | None
    memory_gb: float | None
    diversity: float | None
    standing: Standing | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A comparison as it is reported.

    Attributes:
        plan: The plan.
        dataset: The images.
        rows: One per row of the plan, in its order.
        verdict: The verdict on the metric that decides; None without metrics.
        rungs: Decisions of halving so far.
        strips: Rows of the sheet: label, and uint8 [N, C, H, W] or None.
    """

    plan: Plan
    dataset: ImageDataset
    rows: tuple[RowSummary, ...]
    verdict: Verdict | None
    rungs: tuple[Rung, ...]
    strips: tuple[tuple[str, torch.Tensor | None], ...]

    def record(self) -> dict[str, Any]:
        """Returns the content of table.json."""
        return {
            'plan': asdict(self.plan),
            'data': self.dataset.name,
            'verdict': None if self.verdict is None else asdict(self.verdict) | {'text': self.verdict.sentences()},
            'halving': [asdict(rung) for rung in self.rungs],
            'rows': [row_record(row) for row in self.rows],
        }


def row_record(row: RowSummary) -> dict[str, Any]:
    """Returns a row of table.json."""
    sizes = dict.fromkeys(('parameters', 'macs')) if row.sizes is None else row.sizes
    return {
        'label': row.row.label,
        'cfg': row.row.cfg,
        'flags': list(row.row.flags),
        'paper': [asdict(number) for number in row.row.paper],
        'ends': {metric: {'mean': mean, 'std': std} for metric, (mean, std) in row.ends.items()},
        'best': row.best,
        **sizes,
        'seconds': row.seconds,
        'sec_per_kimg': row.sec_per_kimg,
        'memory_gb': row.memory_gb,
        'diversity': row.diversity,
        'standing': None if row.standing is None else asdict(row.standing),
        'runs': [asdict(result) for result in row.results],
    }


def trials_of(row: Row, results: Sequence[Result], metric: str) -> Trials:
    """Returns the runs of a row as the verdict takes them; interrupted and failed ones do not count.

    Args:
        row: The row.
        results: Its runs.
        metric: The metric that decides.
    """
    ended = [result for result in results if result.state in ('done', 'collapsed') and metric in result.ends]
    return Trials(
        label=row.label,
        values=tuple(result.ends[metric] for result in ended),
        collapsed=sum(result.state == 'collapsed' for result in ended),
        diverged=sum(result.state == 'diverged' for result in results),
    )


def summarize(plan: Plan, dataset: ImageDataset, jobs: Sequence[Job], rungs: Sequence[Rung]) -> Summary:
    """Reads the runs of a comparison.

    Args:
        plan: The plan.
        dataset: The images.
        jobs: All jobs.
        rungs: Decisions of halving so far.
    """
    reals, labels = real_samples(dataset)
    dropped = {label for rung in rungs for label in rung.dropped}
    read: dict[str, tuple[Result, ...]] = {}
    strips: list[tuple[str, torch.Tensor | None]] = [('real images', reals)]
    for row in plan.rows:
        found = [read_result(job, plan, reals, labels) for job in jobs if job.row == row]
        for result, _ in found:
            if row.label in dropped and result.state in ('paused', 'done', 'collapsed'):
                result.state, result.reason = 'dropped', ''
        read[row.label] = tuple(result for result, _ in found)
        # The first seed that has something to show: no choice by looks.
        result, samples = next((pair for pair in found if pair[1] is not None), found[0])
        strips.append((f'{row.label}\nseed {result.seed}: {result.state}', samples))
    verdict = None
    if plan.metric is not None:
        trials = [trials_of(row, read[row.label], plan.metric) for row in plan.rows if row.label not in dropped]
        verdict = judge(trials, metric=plan.metric, lower_is_better=lower_is_better(plan.metric))
    standings = {standing.label: standing for standing in verdict.standings} if verdict else {}
    return Summary(
        plan=plan,
        dataset=dataset,
        rows=tuple(summarize_row(row, read[row.label], jobs, plan, standings.get(row.label)) for row in plan.rows),
        verdict=verdict,
        rungs=tuple(rungs),
        strips=tuple(strips),
    )


def summarize_row(
    row: Row, results: tuple[Result, ...], jobs: Sequence[Job], plan: Plan, standing: Standing | None
) -> RowSummary:
    """Returns the summary of one row.

    Args:
        row: The row.
        results: Its runs.
        jobs: All jobs.
        plan: The plan.
        standing: Its place in the verdict.
    """
    folder = next((found for job in jobs if job.row == row and (found := job.run_folder()) is not None), None)
    ended = [result for result in results if result.state in ('done', 'collapsed')]
    return RowSummary(
        row=row,
        results=results,
        ends={metric: mean_end(results, metric) for metric in plan.metrics},
        best=over_runs(ended, 'best', statistics.mean),
        sizes=sizes_of(folder) if folder else None,
        seconds=over_runs(ended, 'seconds', statistics.mean),
        sec_per_kimg=over_runs(results, 'sec_per_kimg', statistics.mean),
        memory_gb=over_runs(results, 'memory_gb', max),
        diversity=over_runs(results, 'diversity', min),
        standing=standing,
    )
