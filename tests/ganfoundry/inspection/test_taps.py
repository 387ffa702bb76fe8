"""Taps record the last call of each module, in order."""

from __future__ import annotations

import torch

from ganfoundry.inspection.taps import instances, tapped


def test_the_last_call_is_recorded_in_the_order_of_calls() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    with tapped({'first': net[0], 'last': net[2]}) as calls:
        net(torch.zeros(1, 2))
        x = torch.ones(3, 2)
        y = net(x)
    assert list(calls) == ['first', 'last']
    assert calls['first'].inputs[0] is x
    assert calls['last'].output is y
    assert list(instances(net, torch.nn.Linear)) == ['0', '2']
