"""Promise R7: what is not finite changes nothing, is counted, and is answered as --on-nan says."""

import json

import pytest
import torch

from dnnlib.errors import UserError
from tests.support.faulty_runs import Run, poison
from tests.support.steps import assert_same
from torch_utils import checkpoint
from training.optimize.health import NONFINITE
from training.step import TrainStep


def test_skip_and_mask_go_on_and_say_so(tmp_path):
    for on_nan, told in (('skip', 'those steps were skipped'), ('mask', 'their gradients were masked')):
        run = Run(tmp_path / on_nan, on_nan=on_nan)
        state = run.go(lambda state: poison(state, lambda s: s.nimg == 12))
        assert state.nimg == 40
        assert told in run.log
        assert all(value.isfinite().all() for value in state.tensors().values())
        counts = [json.loads(line)[NONFINITE] for line in run.folder.stats.read_text().splitlines()]
        assert sum(round(count['mean'] * count['num']) for count in counts) == 1


def test_abort_ends_the_run_and_keeps_the_states_from_before(tmp_path):
    run = Run(tmp_path / 'abort', on_nan='abort')
    with pytest.raises(UserError, match=r'not finite in 1 of \d optimizer steps of this tick, and --on-nan=abort'):
        run.go(lambda state: poison(state, lambda s: s.nimg == 24))
    newest = run.folder.newest_state(pytest.fail)
    assert newest.name == '000000020'  # ticks end at 4, 12, 20, 28
    assert run.go().nimg == 40


def test_rollback_goes_on_from_the_newest_state_with_other_draws_and_other_images(tmp_path, monkeypatch):
    run = Run(tmp_path / 'rollback', on_nan='rollback')
    seen = []
    call = TrainStep.__call__

    def watched(self, img, c):
        seen.append((self.state.nimg, self.state.retry, img))
        call(self, img, c)

    monkeypatch.setattr(TrainStep, '__call__', watched)
    state = run.go(lambda state: poison(state, lambda s: s.nimg == 24 and s.retry == 0))
    assert (state.nimg, state.retry) == (40, 1)
    assert 'rolled back from 0.03 kimg to' in run.log
    assert [(nimg, retry) for nimg, retry, _ in seen[4:10]] == [(16, 0), (20, 0), (24, 0), (20, 1), (24, 1), (28, 1)]
    assert not torch.equal(seen[5][2], seen[7][2])
    lines = [json.loads(line) for line in run.folder.stats.read_text().splitlines()]
    assert [line['nimg'] for line in lines] == [4, 12, 20, 28, 36, 40]
    assert [line['Health/rollbacks']['mean'] for line in lines] == [0, 0, 0, 1, 1, 1]
    assert all(line[NONFINITE]['mean'] == 0 for line in lines)


def one_fault(state):
    poison(state, lambda s: s.nimg == 20 and s.retry == 0)


@pytest.fixture(scope='module')
def rolled_back(tmp_path_factory):
    return Run(tmp_path_factory.mktemp('whole') / 'run', on_nan='rollback', tick=0.012).go(one_fault)


@pytest.mark.parametrize('moment', [(24, 0), (16, 1), (24, 1), (32, 1)])
def test_a_run_that_is_stopped_around_a_rollback_ends_with_the_same_bits(tmp_path, rolled_back, moment):
    """nimg and rollbacks so far when the run is asked to stop. Ticks end at 16 and 28, the fault is at 20."""
    run = Run(tmp_path / 'stopped', on_nan='rollback', tick=0.012)
    stopped = run.go(one_fault, stop=lambda s: (s.nimg, s.retry) == moment)
    assert (stopped.nimg, stopped.retry) == moment
    assert_same(run.go(one_fault), rolled_back)


def test_what_no_rollback_cures_ends_the_run_after_three_in_a_row(tmp_path):
    run = Run(tmp_path / 'incurable', on_nan='rollback')
    tries = []
    with pytest.raises(UserError, match=r'for the 4th time from .*000000020 .*: the settings are the cause'):
        run.go(lambda state: poison(state, lambda s: s.nimg == 24 and (tries.append(s.retry) or True)))
    assert sorted(set(tries)) == [0, 1, 2, 3]
    assert [path.name for path in checkpoint.list_states(run.folder.states)] == ['000000012', '000000020']


def test_a_fault_before_any_state_says_that_there_is_nothing_to_go_back_to(tmp_path):
    run = Run(tmp_path / 'early', on_nan='rollback')
    with pytest.raises(UserError, match='--on-nan=rollback has no state to return to'):
        run.go(lambda state: poison(state, lambda s: True))


# ---- float16
