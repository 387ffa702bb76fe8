"""Adagrad and RMSprop that a flag can skip: PyTorch's numbers, bit for bit, and none at all where it is set."""

from __future__ import annotations

import copy

import pytest
import torch

from training.optimize.skipping import Adagrad, RMSprop

OURS = {
    'adagrad': lambda params: Adagrad(params, lr=0.01, eps=1e-8),
    'rmsprop': lambda params: RMSprop(params, lr=0.01, alpha=0.9, eps=1e-8),
}
PYTORCHS = {
    'adagrad': lambda params: torch.optim.Adagrad(params, lr=0.01, eps=1e-8, foreach=True),
    'rmsprop': lambda params: torch.optim.RMSprop(params, lr=0.01, alpha=0.9, eps=1e-8, foreach=True),
}
GO, SKIP = torch.tensor(False), torch.tensor(True)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2), torch.nn.Linear(2, 2))


def set_gradients(net: torch.nn.Module, seed: int) -> None:
    """Sets the gradients of all layers except the last one, which has none."""
    torch.manual_seed(seed)
    for p in net[:2].parameters():
        p.grad = torch.randn_like(p)


@pytest.mark.parametrize('kind', OURS)
def test_steps_are_pytorchs_bit_for_bit_with_skipped_ones_between(kind):
    ours, theirs = network(), network()
    a, b = OURS[kind](list(ours.parameters())), PYTORCHS[kind](theirs.parameters())
    for seed in range(4):
        set_gradients(ours, seed)
        set_gradients(theirs, seed)
        a.step_unless(GO)
        b.step()
        ours[0].weight.grad.fill_(float('nan'))
        ours[1].bias.grad.fill_(float('inf'))
        a.step_unless(SKIP)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p, q)
    states = [copy.deepcopy(optimizer.state_dict()['state']) for optimizer in (a, b)]
    assert states[0].keys() == states[1].keys()
    for index, slots in states[1].items():
        assert slots.keys() == states[0][index].keys()
        assert all(torch.equal(states[0][index][name], value) for name, value in slots.items())


@pytest.mark.parametrize('kind', OURS)
def test_a_state_of_pytorchs_optimizer_is_continued(kind):
    ours, theirs = network(), network()
    a, b = OURS[kind](list(ours.parameters())), PYTORCHS[kind](theirs.parameters())
    set_gradients(theirs, 0)
    b.step()
    ours.load_state_dict(theirs.state_dict())
    a.load_state_dict(copy.deepcopy(b.state_dict()))
    for net in (ours, theirs):
        set_gradients(net, 1)
    a.step_unless(GO)
    b.step()
    assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))
