"""Schedule of a comparison: which jobs run when, on which device, until all have ended or a signal comes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from dnnlib.log import format_time
from dnnlib.signals import StopSignal
from ganfoundry.compare.job import Job, judge, launch
from ganfoundry.compare.plan import Plan

POLL_S = 0.1


@dataclass(kw_only=True)
class Place:
    """A job that is being trained.

    Attributes:
        job: The job.
        number: Its position among those that this call trains.
        device: Number of its GPU, or None.
        began: Time of its launch, by `time.monotonic`.
        process: Its process; None while processes of an earlier launch train it.
    """

    job: Job
    number: int
    device: int | None
    began: float
    process: subprocess.Popen[bytes] | None


def train_jobs(jobs: Sequence[Job], pauses: Mapping[Job, int | None], plan: Plan, stop: StopSignal) -> None:
    """Trains what is missing, `plan.jobs` at a time, until all have ended or a signal comes.

    A finished or diverged run stays, an interrupted one continues, a failed one is tried again. A run that processes
    of an earlier launch still train is waited for.

    Args:
        jobs: The jobs, in the order of their launch.
        pauses: Number of images at which each pauses; None: at its end.
        plan: The plan.
        stop: Requests to stop.
    """
    waiting = [job for job in jobs if not job.has_reached(pauses[job], plan.metric)]
    total, number = len(waiting), 0
    running: list[Place] = []
    asked = False
    while running or (waiting and not stop.requested()):
        while waiting and len(running) < plan.jobs and not stop.requested():
            job, number = waiting.pop(0), number + 1
            device = free_device(plan, running)
            process = launch(job, plan, pauses[job], device)
            earlier = '' if process else '; an earlier launch still trains it and is waited for'
            click.echo(f'[{number}/{total}] {job.name}: {job.folder}{earlier}')
            running.append(Place(job=job, number=number, device=device, began=time.monotonic(), process=process))
        if stop.requested() and not asked:
            asked = True
            for place in running:
                if place.process is not None:
                    place.process.terminate()  # it finishes its step and saves
        time.sleep(POLL_S)
        running = [place for place in running if still_runs(place, pauses, plan, stop, total)]


def still_runs(place: Place, pauses: Mapping[Job, int | None], plan: Plan, stop: StopSignal, total: int) -> bool:
    """Looks after a job that is being trained, and records its outcome when it has ended.

    Args:
        place: The job and its process.
        pauses: Number of images at which each job pauses.
        plan: The plan.
        stop: Requests to stop.
        total: Number of jobs that this call trains.

    Returns:
        Whether it is still being trained.
    """
    job = place.job
    if place.process is None:
        if stop.requested():
            click.echo(f'[{place.number}/{total}] {job.name}: not stopped: an earlier launch trains it')
            return False
        place.process = launch(job, plan, pauses[job], place.device)
        return True
    if place.process.poll() is None:
        return True
    outcome = judge(job, place.process.returncode, plan, pauses[job])
    job.write(outcome)
    took = format_time(time.monotonic() - place.began)
    click.echo(f'[{place.number}/{total}] {job.name}: {outcome.state} after {took}. {outcome.reason}'.rstrip())
    return False


def free_device(plan: Plan, running: Sequence[Place]) -> int | None:
    """Returns the GPU with the fewest runs, the first of equals; None where runs choose for themselves."""
    load = {device: sum(place.device == device for place in running) for device in plan.devices}
    return min(load, key=lambda device: load[device], default=None)
