"""Dry run of a comparison: rows, commands and cost, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from dnnlib.log import format_time
from ganfoundry.compare.job import Job
from ganfoundry.compare.plan import RUNGS, Cost, Plan
from ganfoundry.compare.rows import Row
from ganfoundry.compare.rungs import moment_of
from torch_utils.devices import pick_device, prepare
from training.data.dataset import ImageDataset
from training.trial import try_steps


def describe(
    plan: Plan, dataset: ImageDataset, jobs: Sequence[Job], costs: Mapping[str, Cost | None], device: str | None
) -> Iterator[str]:
    """Yields the lines of --dry-run.

    Args:
        plan: The plan.
        dataset: The images.
        jobs: The jobs.
        costs: Cost of a run of each row; None for a row that train.py refuses.
        device: --device.
    """
    spec = dataset.spec
    yield f'Data: {dataset.name}, {spec.num_images} images of {spec.width}x{spec.height}'
    yield f'Runs: {len(plan.rows)} rows x {len(plan.seeds)} seeds, {plan.jobs} at a time'
    yield f'Metrics: {", ".join(plan.metrics) or "none"}, {plan.measurements} times per run'
    total = 0.0
    for row in plan.rows:
        line, seconds = describe_row(row, costs[row.label], plan, dataset, pick_device(device))
        total += seconds * len(plan.seeds)
        yield line
    yield f'Time: about {format_time(total / plan.jobs)} in all, without metrics (measured on a few steps here)'
    yield 'Commands:'
    for job in jobs:
        cost = costs[job.row.label]
        pause = None if plan.halving == 'off' or cost is None else moment_of(cost, RUNGS[0])
        yield f'  {job.shown(plan, pause)}'
    if plan.halving != 'off':
        yield '  and the rows that stay are resumed, with --pause at half of the length and then without'
    yield 'Dry run: no folder was made.'


def describe_row(
    row: Row, cost: Cost | None, plan: Plan, dataset: ImageDataset, device: torch.device
) -> tuple[str, float]:
    """Returns a line about a row, and the seconds that one of its runs takes.

    Args:
        row: The row.
        cost: Cost of its runs; None if train.py refuses its flags.
        plan: The plan.
        dataset: The images.
        device: Device on which a few steps are measured.
    """
    if cost is None:
        return f'  {row.label}: train.py refuses its flags; its first command below says why', 0.0
    prepare(device, benchmark=cost.config.benchmark, allow_tf32=cost.config.allow_tf32, deterministic=False)
    trial = try_steps(cost.config, dataset, device, cost.macs)
    seconds = plan.hours * 3600 if plan.hours else trial.sec_per_kimg * cost.kimg
    return (
        f'  {row.label}: {cost.kimg} kimg, {cost.macs / 1e6:.2f} M multiply-adds per image (G and D), '
        f'{trial.sec_per_kimg:.1f} s per kimg, about {format_time(seconds)} per run'
    ), seconds
