"""Optimizers: corrections, packed gradients, steps that are skipped."""

from __future__ import annotations

import copy

import pytest
import torch

from training.config import OptimizerConfig
from training.optimize.optimizers import GradientBuffer, make_optimizer, step_unless


def test_lazy_regularisation_corrects_adam():
    net = torch.nn.Linear(2, 2)
    for interval, factor, beta2 in ((4, 0.8, 0.99199197), (16, 0.941176, 0.99058546), (None, 1, 0.99)):
        group = make_optimizer(net, OptimizerConfig(lr=0.002), interval).param_groups[0]
        assert group['lr'] == pytest.approx(0.002 * factor, rel=1e-6)
        assert group['betas'] == (0.0, pytest.approx(beta2, abs=1e-8))
        assert all(isinstance(beta, float) for beta in group['betas'])


@pytest.mark.parametrize('kind', ['adam', 'adagrad', 'rmsprop'])
def test_every_optimiser_steps_as_pytorchs_own_and_leaves_a_step_out(kind):
    net = torch.nn.Linear(3, 2)
    other = copy.deepcopy(net)
    ours = make_optimizer(net, OptimizerConfig(kind=kind, lr=0.01, beta1=0.5, beta2=0.9), None)
    theirs = {
        'adam': lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.5, 0.9)),
        'adagrad': lambda p: torch.optim.Adagrad(p, lr=0.01, eps=1e-8),
        'rmsprop': lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9),
    }[kind](other.parameters())
    for value in (1.0, -0.3, 0.02):
        for module in (net, other):
            for p in module.parameters():
                p.grad = torch.full_like(p, value)
        step_unless(ours, torch.tensor(False), scale=1)
        theirs.step()
    torch.testing.assert_close(net.state_dict(), other.state_dict())
    before = copy.deepcopy((net.state_dict(), ours.state_dict()))
    net.weight.grad[0, 0] = float('nan')
    step_unless(ours, torch.tensor(True), scale=1)
    assert net.state_dict().keys() == before[0].keys()
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[0][name]), name
    for index, slots in ours.state_dict()['state'].items():
        assert all(torch.equal(slots[slot], before[1]['state'][index][slot]) for slot in slots)


def test_gradients_of_whole_quads_begin_at_a_multiple_of_16_bytes():
    net = torch.nn.ModuleList([torch.nn.Linear(3, 1), torch.nn.Linear(4, 2), torch.nn.Linear(8, 4)])
    for p in net.parameters():
        p.grad = torch.randn_like(p)
    expected = [p.grad.clone() for p in net.parameters()]
    packed = GradientBuffer(net).gather(torch.tensor(7.0))
    assert packed[-1] == 7
    for p, gradient in zip(net.parameters(), expected, strict=True):
        assert torch.equal(p.grad, gradient)
        assert p.numel() % 4 or p.grad.storage_offset() % 4 == 0


@pytest.mark.parametrize('num_opened', [0, 2, 3])
def test_gradients_at_their_places_are_packed_as_all_others(num_opened):
    net = torch.nn.ModuleList([torch.nn.Linear(4, 3, bias=False) for _ in range(3)])
    buffer, x = GradientBuffer(net), torch.randn(5, 4)
    buffer.open(list(net.parameters())[:num_opened])
    for _ in range(2):  # micro-batches
        sum(layer(x).sum() for layer in net).backward()
    packed = buffer.gather(torch.tensor(7.0))
    expected = (2 * x.sum(dim=0)).expand(3, 4)
    for k, p in enumerate(net.parameters()):
        torch.testing.assert_close(packed[12 * k : 12 * k + 12].view(3, 4), expected)
        assert p.grad.data_ptr() == packed[12 * k :].data_ptr()
    assert packed[-1] == 7
