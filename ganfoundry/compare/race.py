"""A comparison from its options to its report: jobs, rungs, and what is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from dnnlib.errors import ConfigError
from dnnlib.folders import exclusive
from dnnlib.signals import StopSignal
from ganfoundry.compare.dry_run import describe
from ganfoundry.compare.job import Job
from ganfoundry.compare.options import CompareOptions, make_plan, open_data, with_plan_file
from ganfoundry.compare.plan import RUNGS, Cost, Plan, row_costs, run_flags
from ganfoundry.compare.rungs import Rung, decide, moment_of
from ganfoundry.compare.schedule import train_jobs
from ganfoundry.compare.summary import summarize
from ganfoundry.compare.writing import lead, write_summary
from training.interface import ImageSpec


def run_comparison(given: CompareOptions, command: Sequence[str]) -> int:
    """Carries out a command line of compare.py and returns its exit code.

    Args:
        given: The options of the command line.
        command: Its words, for the report.
    """
    options, rows = with_plan_file(given)
    plan = make_plan(options, rows, command)
    dataset = open_data(options)
    out = Path(options.out or '')
    costs = row_costs(plan, dataset.spec)
    jobs = make_jobs(plan, dataset.spec, costs, out)
    if options.dry_run:
        for line in describe(plan, dataset, jobs, costs, options.device):
            click.echo(line)
        return 0
    make_out(out)
    with exclusive(out / '.lock'), StopSignal() as stop:
        rungs = train_rungs(jobs, costs, plan, stop)
        summary = summarize(plan, dataset, jobs, rungs)
        write_summary(summary, out)
        click.echo(lead(summary))
        click.echo(f'report: {out / "report.html"} and {out / "report.md"}')
        return stop.exit_code


def make_out(out: Path) -> None:
    """Makes the folder of a comparison."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'--out={out}: cannot be made: {error.strerror}') from None


def make_jobs(plan: Plan, spec: ImageSpec, costs: Mapping[str, Cost | None], out: Path) -> list[Job]:
    """Returns a job per row and seed, seeds outermost, so that an early stop leaves complete comparisons.

    Args:
        plan: The plan.
        spec: Facts of the images.
        costs: Cost of a run of each row; None for a row that train.py refuses.
        out: Folder of the comparison.
    """
    jobs = []
    for seed in plan.seeds:
        for row in plan.rows:
            cost = costs[row.label]
            kimg = plan.kimg if cost is None else cost.kimg
            flags = run_flags(plan, row, seed, spec, kimg)
            jobs.append(Job(row=row, seed=seed, kimg=kimg, flags=flags, folder=out / f'{row.label}-seed{seed}'))
    return jobs


def train_rungs(jobs: Sequence[Job], costs: Mapping[str, Cost | None], plan: Plan, stop: StopSignal) -> list[Rung]:
    """Trains all jobs, from rung to rung if rows may leave, until the end or a signal.

    Every decision is a function of the measurements up to its rung. Nothing about it is stored: the same command after
    an interruption decides again, and in the same way.

    Args:
        jobs: The jobs.
        costs: Cost of a run of each row.
        plan: The plan.
        stop: Requests to stop.

    Returns:
        The decisions that were made.
    """
    rungs: list[Rung] = []
    active = list(jobs)
    for share in RUNGS if plan.halving != 'off' else ():
        pauses = {job: moment_of(costs[job.row.label], share) for job in active}
        train_jobs(active, pauses, plan, stop)
        if stop.requested():
            return rungs
        rung = decide(active, pauses, plan, share, planned_kimg=sum(job.kimg for job in jobs))
        click.echo(rung.text())
        rungs.append(rung)
        active = [job for job in active if job.row.label not in rung.dropped]
    train_jobs(active, dict.fromkeys(active), plan, stop)
    return rungs
