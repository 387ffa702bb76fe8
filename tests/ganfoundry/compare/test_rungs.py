"""Rungs: which measurements count, which rows leave, and what is said of it."""

import json

import pytest

from ganfoundry.compare.job import Job, Outcome
from ganfoundry.compare.plan import Plan
from ganfoundry.compare.rows import Row
from ganfoundry.compare.rungs import Rung, decide, trials_at

VALUES = {'a': (10.0, 11.0), 'b': (10.5, 11.2), 'c': (50.0, 60.0), 'd': (90.0, None)}


@pytest.fixture
def jobs(tmp_path):
    """Four rows, two seeds; measured at 5 kimg and later; one run of d has diverged."""
    found = []
    for label, values in VALUES.items():
        for seed, value in enumerate(values):
            job = Job(
                row=Row(label=label, cfg='auto'), seed=seed, kimg=20, flags=(), folder=tmp_path / f'{label}{seed}'
            )
            run = job.folder / '00000-x'
            run.mkdir(parents=True)
            (run / 'config.json').write_text('{}')
            lines = [] if value is None else [(5000, value), (10000, 1.0)]
            (run / 'metric-fd_efflite2k.jsonl').write_text(
                ''.join(
                    json.dumps({'results': {'fd_efflite2k': number}, 'nimg': nimg, 'metric': 'fd_efflite2k'}) + '\n'
                    for nimg, number in lines
                )
            )
            job.write(Outcome('paused' if value else 'diverged'))
            found.append(job)
    return found


def plan(halving):
    return Plan(rows=tuple(Row(label=label, cfg='auto') for label in VALUES), seeds=(0, 1), kimg=20, batch=16,
                metrics=('fd_efflite2k',), halving=halving)  # fmt: skip


def test_a_decision_rests_on_the_measurements_of_its_rung(jobs):
    pauses = dict.fromkeys(jobs, 5000)
    assert trials_at(jobs[:2], pauses, 'fd_efflite2k').values == (10.0, 11.0)  # those at 10 kimg came later
    assert trials_at(jobs[6:], pauses, 'fd_efflite2k').diverged == 1
    assert trials_at(jobs[:2], dict.fromkeys(jobs, 4000), 'fd_efflite2k').values == ()


def test_the_lower_half_leaves_if_halving_is_strict(jobs):
    rung = decide(jobs, dict.fromkeys(jobs, 5000), plan('strict'), 0.25, planned_kimg=160)
    assert list(rung.dropped) == ['c', 'd'] or 'c' in rung.dropped
    assert 'a' not in rung.dropped
    assert rung.saved_kimg == 15 * sum(job.row.label in rung.dropped for job in jobs)
    assert 'c leaves: ' in rung.text()
    assert 'of the whole budget' in rung.text()


def test_nothing_leaves_if_nothing_is_dropped():
    assert (
        Rung(share=0.5, dropped={}, saved_kimg=0, planned_kimg=9).text() == 'After 50% of the length: every row stays.'
    )
