"""Schedule: how many jobs run at a time, and on which GPU."""

from dataclasses import replace

import pytest

from dnnlib.signals import StopSignal
from ganfoundry.compare import schedule
from ganfoundry.compare.job import Job, Outcome
from ganfoundry.compare.plan import Plan
from ganfoundry.compare.rows import Row

ROWS = tuple(Row(label=label, cfg='auto') for label in 'abcde')
PLAN = Plan(rows=ROWS, seeds=(0,), kimg=20, batch=16, metrics=(), jobs=2, devices=(0, 1))


class Process:
    """A run that ends at the second look."""

    def __init__(self):
        self.returncode, self.looks = 0, 0

    def poll(self):
        self.looks += 1
        return 0 if self.looks > 1 else None


@pytest.fixture
def launched(monkeypatch):
    """Jobs with their devices, in the order of their launch; the first one is still trained by an earlier launch."""
    found = []

    def launch(job, plan, pause, device):
        found.append((job.row.label, device))
        return None if len(found) == 1 else Process()

    monkeypatch.setattr(schedule, 'launch', launch)
    monkeypatch.setattr(schedule, 'judge', lambda job, code, plan, pause: Outcome('finished'))
    monkeypatch.setattr(schedule, 'POLL_S', 0)
    return found


def test_runs_are_spread_over_the_gpus_and_earlier_launches_are_waited_for(tmp_path, launched, capsys):
    jobs = [Job(row=row, seed=0, kimg=20, flags=(), folder=tmp_path / row.label) for row in ROWS]
    for job in jobs:
        job.folder.mkdir()
    jobs[1].write(Outcome('finished'))
    jobs[2].write(Outcome('diverged'))
    jobs[3].write(Outcome('failed'))
    with StopSignal() as stop:
        schedule.train_jobs(jobs, dict.fromkeys(jobs), PLAN, stop)
    assert launched[0] == ('a', 0)
    assert sorted(set(launched)) == [('a', 0), ('d', 1), ('e', 1)] or ('e', 0) in launched
    assert [label for label, _ in launched].count('a') == 2
    output = capsys.readouterr().out
    assert 'a seed 0: ' in output
    assert 'an earlier launch still trains it and is waited for' in output
    assert output.count('finished after') == 3


def test_without_gpus_runs_choose_their_device():
    assert schedule.free_device(replace(PLAN, devices=()), []) is None
