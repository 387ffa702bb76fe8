"""Health: losses and gradients that are not finite change nothing, or are masked."""

from __future__ import annotations

import pytest
import torch

from tests.support.faulty_runs import poison
from tests.support.steps import CPU, tiny
from torch_utils.stats import Collector
from training.build import build
from training.config import OptimizerConfig, R1Config
from training.objective.losses import LOSSES
from training.optimize.health import NONFINITE, Undo, guarded_step
from training.optimize.optimizers import GradientBuffer, make_optimizer
from training.step import TrainStep

BAD = [float('nan'), float('inf')]


def batch():
    return torch.full([4, 3, 8, 8], 99, dtype=torch.uint8), torch.zeros(4, 0)


def tensors_of(state):
    return {name: value.clone() for name, value in state.tensors().items()}


@pytest.mark.parametrize('value', BAD)
def test_losses_that_are_not_finite_change_nothing_though_every_gradient_is_finite(dataset, monkeypatch, value):
    cfg = tiny(dataset, r1=R1Config(gamma=0))
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    step(*batch())
    before, loss = tensors_of(state), LOSSES.get('logistic')
    for name in ('generator', 'discriminator_real'):
        original = getattr(loss, name)
        monkeypatch.setattr(loss, name, lambda self, logits, f=original: f(self, logits) + value)
    state.stats = Collector()
    for phase in step.phases:
        if phase.name in ('Gmain', 'Dmain'):
            step.run_phase(phase, step.split(*batch()))
    assert all(p.grad is None or p.grad.isfinite().all() for p in state.D.parameters())
    assert all(torch.equal(value, before[name]) for name, value in tensors_of(state).items())
    assert state.stats.summary()[NONFINITE] == {'num': 2, 'mean': 1.0, 'std': 0.0}


@pytest.mark.parametrize('value', BAD)
def test_a_gradient_that_is_not_finite_changes_neither_weights_nor_optimiser(dataset, value):
    cfg = tiny(dataset)
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    step(*batch())
    poison(state, lambda state: True, value)
    before = tensors_of(state)
    step(*batch())
    after = tensors_of(state)
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith(('D.', 'opt_D.')))
    assert not torch.equal(after['G.synthesis.b4.conv1.weight'], before['G.synthesis.b4.conv1.weight'])
    assert state.stats.summary()[NONFINITE]['mean'] > 0


def test_running_statistics_forget_a_phase_that_was_not_finite(dataset):
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    undo, x = Undo(net), torch.randn(8, 4)
    net(x)
    sound = net[1].running_mean.clone()
    undo.remember()
    net(x * float('inf'))
    assert not net[1].running_mean.isfinite().any()
    undo.where(torch.tensor(True))
    assert torch.equal(net[1].running_mean, sound)
    undo.remember()
    net(x)
    moved = net[1].running_var.clone()
    undo.where(torch.tensor(False))
    assert torch.equal(net[1].running_var, moved)


def test_path_lengths_that_are_not_finite_do_not_enter_their_mean(dataset):
    cfg = tiny(dataset)
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    step(*batch())
    before = state.pl_mean.clone()
    greg = next(phase for phase in step.phases if phase.name == 'Greg')
    with torch.no_grad():
        weight = state.G.synthesis.b8.conv1.weight
        kept = weight.clone()
        weight[0, 0] = float('nan')
    step.run_phase(greg, step.split(*batch()))
    assert torch.equal(state.pl_mean, before)
    with torch.no_grad():
        weight.copy_(kept)
    step.run_phase(greg, step.split(*batch()))
    assert state.pl_mean.isfinite()
    assert state.pl_mean != before


def make_step(gradient, on_nan, loss=0.0, scale=None):
    """Runs one guarded step of a linear layer. Returns its weights before and after, and the statistics."""
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1, bias=False)
    optimizer, stats = make_optimizer(net, OptimizerConfig(lr=0.1, beta1=0.0), None), Collector()
    before = net.weight.detach().clone()
    net.weight.grad = torch.tensor([gradient])
    packed = GradientBuffer(net).gather(torch.tensor(loss))
    guarded_step(optimizer, packed, 1.0, on_nan=on_nan, loss_scale=scale, stats=stats)
    return before, net.weight.detach(), net.weight.grad, stats.summary()


def test_mask_steps_on_what_is_left():
    before, after, grad, stats = make_step([float('nan'), float('inf'), -float('inf')], 'mask')
    assert grad.tolist() == [[0.0, 1e5, -1e5]]  # StyleGAN2-ADA does this
    assert (after - before)[0].tolist() == pytest.approx([0, -0.1, 0.1], rel=1e-5)
    assert stats[NONFINITE]['mean'] == 1


@pytest.mark.parametrize('on_nan', ['skip', 'rollback', 'abort'])
def test_all_else_does_not_step(on_nan):
    before, after, _, stats = make_step([1.0, float('nan'), 2.0], on_nan)
    assert torch.equal(before, after)
    assert stats[NONFINITE]['mean'] == 1
