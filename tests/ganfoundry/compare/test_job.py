"""Jobs: commands, the lock that processes hold, and outcomes."""

import json
import subprocess
import sys

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.compare import job as jobs
from ganfoundry.compare.job import Job, Outcome, judge, locked
from ganfoundry.compare.plan import Plan
from ganfoundry.compare.rows import Row

ROW = Row(label='a', cfg='auto')
PLAN = Plan(rows=(ROW,), seeds=(0,), kimg=20, batch=16, metrics=('fd_efflite2k',))


@pytest.fixture
def job(tmp_path):
    return Job(row=ROW, seed=0, kimg=20, flags=('--cfg=auto', '--plugin=/p.py'), folder=tmp_path / 'a-seed0')


def with_run(job, nimg, measured=None):
    """Makes the run folder of a job, with a state and a line of the metric."""
    folder = job.folder / '00000-x'
    (folder / 'state' / f'{nimg:09d}').mkdir(parents=True)
    (folder / 'config.json').write_text('{}')
    lines = [] if measured is None else [{'results': {'fd_efflite2k': 3.0}, 'nimg': measured, 'metric': 'fd_efflite2k'}]
    (folder / 'metric-fd_efflite2k.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return folder


@pytest.mark.parametrize(
    ('exit_code', 'stderr', 'state', 'reason'),
    [
        (2, 'operations: native\nError: training has diverged: no gradient', 'diverged', 'training has diverged'),
        (2, 'Error: ratio=0: must be at least 1\n', 'failed', 'ratio=0: must be at least 1'),
        (1, 'Traceback\n  File\nRuntimeError: mat1 and mat2\n', 'failed', 'RuntimeError: mat1 and mat2'),
        (143, '', 'interrupted', 'asked to stop'),
        (75, '', 'interrupted', 'its --for is over'),
        (-9, '', 'interrupted', 'killed by signal 9'),
        (0, '', 'failed', 'it ended at 0 of 20 kimg'),
    ],
)
def test_the_end_of_a_launch_is_recorded_with_its_reason(job, exit_code, stderr, state, reason):
    job.folder.mkdir()
    assert job.outcome() == Outcome('new')
    job.errors.write_text(stderr)
    job.write(judge(job, exit_code, PLAN, None))
    assert job.outcome().state == state
    assert job.outcome().reason.startswith(reason)


def test_a_run_is_finished_when_it_is_measured_and_paused_at_its_pause(job):
    with_run(job, 5000)
    assert judge(job, 0, PLAN, 5000) == Outcome('paused')
    assert judge(job, 0, PLAN, 10000).state == 'failed'
    assert not job.has_reached(5000, PLAN.metric)  # not measured yet
    with_run(job, 20000, measured=15000)
    assert [job.has_reached(nimg, PLAN.metric) for nimg in (15000, 20000, None)] == [True, False, False]
    assert judge(job, 0, PLAN, None).reason.startswith('trained, but fd_efflite2k could not be measured')
    (job.folder / '00000-x' / 'state' / '000020000').rmdir()
    with_run(job, 20000, measured=20000)
    assert judge(job, 0, PLAN, None) == Outcome('finished')
    job.write(Outcome('finished'))
    assert job.has_reached(None, PLAN.metric)


def test_the_command_begins_or_continues_and_pauses(job):
    plan = Plan(rows=(ROW,), seeds=(0,), kimg=20, batch=16, metrics=(), launcher=('srun', '--gres=gpu:1'))
    words = job.words(plan, None)
    assert words[:2] == ['srun', '--gres=gpu:1']
    assert words[-3:] == [f'--outdir={job.folder}', *job.flags]
    folder = with_run(job, 5000)
    assert job.words(plan, 10025)[-3:] == [f'--resume={folder}', '--plugin=/p.py', '--pause=10.025']


def test_the_time_of_a_run_with_hours_counts_over_launches(job):
    plan = Plan(rows=(ROW,), seeds=(0,), kimg=20, batch=16, metrics=(), budget='hours', hours=1.0)
    folder = with_run(job, 5000)
    assert job.words(plan, None)[-1] == '--for=3600s'
    line = {'nimg': 5000, 'Timing/total_sec': {'num': 1, 'mean': 3000.0, 'std': 0.0}}
    (folder / 'stats.jsonl').write_text(json.dumps(line) + '\n')
    assert job.words(plan, None)[-1] == '--for=600s'
    assert judge(job, 75, plan, None) == Outcome('finished')


def test_other_flags_are_refused_once_a_run_has_begun(job):
    job.folder.mkdir()
    Job(row=ROW, seed=0, kimg=20, flags=('--cfg=squeeze',), folder=job.folder).write(Outcome('failed', 'x'))
    assert job.outcome() == Outcome('new')
    with_run(job, 5000)
    with pytest.raises(ConfigError, match='was trained with other flags; name another --out'):
        job.outcome()


@pytest.mark.slow
def test_a_process_of_an_earlier_launch_holds_the_lock_until_it_ends(job):
    with locked(job) as handle:
        assert handle is not None
        child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE, pass_fds=[handle])
    with locked(job) as again:
        assert again is None
    assert jobs.launch(job, PLAN, None, None) is None
    child.communicate(b'\n')
    with locked(job) as free:
        assert free is not None


def test_a_launcher_that_is_absent_is_named(job):
    plan = Plan(rows=(ROW,), seeds=(0,), kimg=20, batch=16, metrics=(), launcher=('no-such-launcher', '-n1'))
    with pytest.raises(ConfigError, match='--launcher=no-such-launcher -n1: no-such-launcher: No such file'):
        jobs.launch(job, plan, None, None)
    assert job.outcome().state == 'failed'


def test_each_run_gets_its_gpu_and_threads():
    assert jobs.environment(PLAN, 3)['CUDA_VISIBLE_DEVICES'] == '3'
    assert jobs.environment(PLAN, None)['OMP_NUM_THREADS'] == '1'
