"""Rungs of a comparison with halving: the moments of the decisions, what they rest on, and what they saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganfoundry.compare.job import Job
from ganfoundry.compare.plan import Cost, Plan, rung
from ganfoundry.compare.results import lower_is_better
from metrics.halving import leaving_rows
from metrics.trials import Trials
from training.run.lines import first_result


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """One decision.

    Attributes:
        share: Share of the length at which it was made.
        dropped: Rows that left, with the reason of each.
        saved_kimg: Thousands of images that are not trained because of it.
        planned_kimg: Thousands of images of all runs of the plan.
    """

    share: float
    dropped: Mapping[str, str]
    saved_kimg: float
    planned_kimg: float

    def text(self) -> str:
        """Returns the decision in words."""
        where = f'After {self.share:.0%} of the length'
        if not self.dropped:
            return f'{where}: every row stays.'
        reasons = '; '.join(f'{label} leaves: {reason}' for label, reason in self.dropped.items())
        part = self.saved_kimg / self.planned_kimg
        return f'{where}: {reasons}. This saves {self.saved_kimg:.4g} kimg, {part:.0%} of the whole budget.'


def moment_of(cost: Cost | None, share: float) -> int | None:
    """Returns the number of images at which a run pauses; None for a row that train.py refuses."""
    return None if cost is None else rung(cost.config, share)


def trials_at(row_jobs: Sequence[Job], pauses: Mapping[Job, int | None], metric: str) -> Trials:
    """Returns the runs of one row at a rung. A run without a measurement there does not count.

    Collapse is no reason to leave here: it may be a stage that passes.

    Args:
        row_jobs: The jobs of the row.
        pauses: Number of images of the rung.
        metric: The metric that decides.
    """
    values, diverged = [], 0
    for job in row_jobs:
        folder, state = job.run_folder(), job.outcome().state
        lines = [] if folder is None else folder.curve(metric)
        reached = [line for line in lines if line['nimg'] == pauses[job]]
        if reached:
            values.append(first_result(reached[-1]))
        elif state == 'diverged':
            diverged += 1
    return Trials(label=row_jobs[0].row.label, values=tuple(values), diverged=diverged)


def decide(
    jobs: Sequence[Job], pauses: Mapping[Job, int | None], plan: Plan, share: float, planned_kimg: float
) -> Rung:
    """Returns the decision of a rung.

    Args:
        jobs: The jobs of the rows that are still there.
        pauses: Number of images of the rung, by job.
        plan: The plan.
        share: Share of the length.
        planned_kimg: Thousands of images of all runs of the plan.
    """
    assert plan.metric is not None
    by_label: dict[str, list[Job]] = {}
    for job in jobs:
        by_label.setdefault(job.row.label, []).append(job)
    trials = [trials_at(row_jobs, pauses, plan.metric) for row_jobs in by_label.values()]
    dropped = leaving_rows(
        trials,
        share=share,
        metric=plan.metric,
        lower_is_better=lower_is_better(plan.metric),
        strict=plan.halving == 'strict',
    )
    rest = [job.kimg - (pauses[job] or 0) / 1000 for job in jobs if job.row.label in dropped]
    return Rung(share=share, dropped=dropped, saved_kimg=sum(rest), planned_kimg=planned_kimg)
