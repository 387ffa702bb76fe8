"""Loss scale: gradients too small for float16, overflows, growth, and its state."""

from __future__ import annotations

import json

import torch

from tests.support.faulty_runs import Run
from tests.support.steps import CPU, assert_same
from tests.training.optimize.test_health import make_step
from training.optimize.health import NONFINITE, OVERFLOW
from training.optimize.loss_scale import FIRST, INTERVAL, LossScale


def test_gradients_too_small_for_float16_arrive_once_the_loss_is_scaled():
    x = torch.full([1000], 3.0, dtype=torch.float16, requires_grad=True)
    (x.float() * 1e-9).sum().backward()
    assert not x.grad.any()
    x.grad, scale = None, LossScale(CPU)
    ((x.float() * 1e-9).sum() * scale.factor).backward()
    torch.testing.assert_close(x.grad.float() / scale.factor, torch.full([1000], 1e-9), rtol=1e-3, atol=0)


def test_the_factor_changes_nothing_but_the_range():
    plain = make_step([1.0, -0.3, 0.7], 'skip')
    scale = LossScale(CPU)
    scaled = make_step([value * FIRST for value in (1.0, -0.3, 0.7)], 'skip', scale=scale)
    assert torch.equal(plain[1], scaled[1])
    assert torch.equal(plain[2], scaled[2])
    assert scaled[3][OVERFLOW]['mean'] == 0


def test_an_overflow_halves_the_factor_and_is_no_fault_until_that_is_one():
    scale = LossScale(CPU)
    for on_nan in ('skip', 'mask'):
        before, after, _, stats = make_step([1.0, float('inf'), 0.7], on_nan, scale=scale)
        assert torch.equal(before, after)
        assert (stats[OVERFLOW]['mean'], stats[NONFINITE]['mean']) == (1, 0)
    assert scale.factor == FIRST / 4
    scale.load_state_dict({'factor': 1.0, 'clean': 0.0})
    assert make_step([1.0, float('inf'), 0.7], 'skip', scale=scale)[3][NONFINITE]['mean'] == 1
    assert scale.factor == 1


def test_a_loss_that_is_not_finite_is_a_fault_at_any_factor():
    scale = LossScale(CPU)
    stats = make_step([1.0, 2.0, 0.7], 'skip', loss=float('nan'), scale=scale)[3]
    assert (stats[OVERFLOW]['mean'], stats[NONFINITE]['mean']) == (0, 1)
    assert scale.factor == FIRST


def test_the_factor_doubles_after_enough_clean_steps_and_goes_to_disk_and_back():
    scale, other = LossScale(CPU), LossScale(CPU)
    for _ in range(INTERVAL - 1):
        scale.update(torch.tensor(False))
    assert scale.factor == FIRST
    other.load_state_dict(json.loads(json.dumps(scale.state_dict())))
    for each in (scale, other):
        each.update(torch.tensor(False))
        assert each.factor == 2 * FIRST
    assert scale.state_dict() == other.state_dict()


def test_float16_trains_finds_its_factor_and_resumes_bit_for_bit(tmp_path):
    from training.config import with_precision

    def run(name):
        run = Run(tmp_path / name)
        run.cfg = with_precision(run.cfg, 'fp16')
        return run

    def too_far(state):
        if state.nimg == 0:
            state.loss_scale('D').load_state_dict({'factor': 2.0**24, 'clean': 0.0})

    whole = run('whole').go(too_far)
    assert whole.loss_scale('D').factor < 2**24
    assert whole.loss_scale('G').factor >= 1
    assert all(value.isfinite().all() for value in whole.tensors().values())
    stopped = run('stopped')
    assert stopped.go(too_far, stop=lambda s: s.nimg == 24).nimg == 24
    assert_same(stopped.go(too_far), whole)
