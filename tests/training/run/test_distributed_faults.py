"""Faults in one of several processes are answered in the same way by all: --on-nan, --guardian, --bad-images, --for."""

import hashlib
import json

import pytest

from dnnlib.errors import UserError
from tests.support.faulty_runs import Run, poison
from tests.support.ranks import run_ranks
from tests.support.runs import TINY, call, last_state, losses, make_zip, only_run
from tests.training.data.test_bad_images import corrupt
from training.optimize.guardian import GuardianConfig

pytestmark = pytest.mark.slow

IN_TWO = {'deterministic': True, 'batch_gpu': 2}
FLAGS = (*TINY, '--kimg=1', '--batch=64', '--batch-gpu=16', '--tick=0.128', '--deterministic=1')


class Scores:
    """An evaluator whose result rises with the images shown, until there was a rollback."""

    names = ('fd',)
    state = None

    def __call__(self, G_ema, names):
        value = self.state.nimg if self.state.retry == 0 else 1000 - self.state.nimg
        yield 'fd', {'results': {'fd': value}, 'metric': 'fd'}

    def lower_is_better(self, name):
        return True


def train(world, run, struck):
    """Trains with a gradient that is NaN in process `struck`: a digest of the tensors, then what else there is."""
    scores = Scores()

    def prepare(state):
        scores.state = state
        if world.rank == struck:
            poison(state, lambda s: s.nimg == 20 and s.retry == 0)

    try:
        state = run.go(prepare, evaluate=scores, world=world)
    except UserError as error:
        return str(error)
    values = b''.join(tensor.detach().numpy().tobytes() for tensor in state.tensors().values())
    return hashlib.sha256(values).hexdigest(), state.nimg, state.retry, state.data_position


def records(run):
    """Returns the records of a run without times and memory."""
    keep = ('Loss/', 'Progress/', 'Health/', 'Data/', 'nimg')
    lines = [json.loads(line) for line in run.folder.stats.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key.startswith(keep)} for line in lines]


def both_ways(tmp_path, struck, **changes):
    """Trains a run by one process and by two, of which the second is struck; what each process has come to."""
    one, two = (Run(tmp_path / name, **IN_TWO, **changes) for name in ('one', 'two'))
    return one, run_ranks(1, train, one, 0 if struck else None), two, run_ranks(2, train, two, 1 if struck else None)


def test_a_rollback_after_one_process_met_nan_is_that_of_all(tmp_path):
    one, (alone,), two, together = both_ways(tmp_path, struck=True, on_nan='rollback')
    assert alone[1:3] == (40, 1)
    assert together == [alone, alone]
    assert records(two) == records(one)
    assert two.log.count('rolled back from') == two.log.count('WARNING: losses or gradients') == 1
    assert 'WARNING (rank 1)' not in two.log


@pytest.mark.parametrize('on_nan', ['skip', 'mask'])
def test_a_step_with_nan_in_one_process_counts_once(tmp_path, on_nan):
    one, (alone,), two, together = both_ways(tmp_path, struck=True, on_nan=on_nan)
    assert together == [alone, alone]
    assert records(two) == records(one)
    assert sum(line['Health/nonfinite_steps']['mean'] for line in records(two)) > 0


def test_abort_ends_all_with_the_same_sentence(tmp_path):
    _, _, _, together = both_ways(tmp_path, struck=True, on_nan='abort')
    assert together[0] == together[1]
    assert 'and --on-nan=abort' in together[0]


def test_the_first_process_decides_to_return_to_the_best_and_all_go(tmp_path):
    guardian = GuardianConfig(mode='rollback', rises=2, diversity=0)
    one, (alone,), two, together = both_ways(tmp_path, struck=False, guardian=guardian, snap=1)
    assert alone[1:3] == (40, 1)
    assert together == [alone, alone]
    assert two.log.count('rolled back from') == 1
    assert [line['nimg'] for line in two.folder.results('fd')] == [line['nimg'] for line in one.folder.results('fd')]


def test_two_processes_stop_in_time_together_and_pass_over_a_bad_image(tmp_path):
    """Rank 0 keeps the time. An image that only one of them meets ends neither, and is named once."""
    flags = (f'--data={corrupt(make_zip(tmp_path / "tiny.zip"), 20)}', '--bad-images=skip', *FLAGS)
    call(tmp_path / 'one', *flags)
    done = call(tmp_path / 'two', *flags, '--gpus=2', '--max-restarts=1', '--for=0.5s', check=False, forks=True)
    assert done.returncode == 75, done.stdout + done.stderr  # and no restart
    assert 'is over; the newest state is of 0.06 kimg' in done.stdout
    folder = only_run(tmp_path / 'two')
    call(tmp_path / 'two', f'--resume={folder}', '--for=1h', forks=True)
    alone = only_run(tmp_path / 'one')
    assert last_state(folder) == last_state(alone)
    assert losses(folder) == losses(alone)
    assert len((folder / 'bad-images.txt').read_text().splitlines()) == 1
