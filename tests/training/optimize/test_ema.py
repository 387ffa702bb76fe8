"""Moving average: its half-life, and what is averaged or copied."""

from __future__ import annotations

import copy

import pytest
import torch

from training.optimize.ema import ema_beta, update_ema


def test_the_average_keeps_half_over_its_half_life():
    assert ema_beta(10_000, 10, None, 0) == pytest.approx(0.5)
    assert ema_beta(32, 10, None, 10**9) == pytest.approx(0.5 ** (32 / 10_000))
    assert ema_beta(32, 10, 0.05, 0) == 0  # the first average is the first weights
    assert ema_beta(50, 10, 0.05, 1000) == pytest.approx(0.5)
    assert ema_beta(32, 0, None, 10**6) == 0


def test_averages_are_of_parameters_and_buffers_are_copied():
    net = torch.nn.BatchNorm1d(3)
    average = copy.deepcopy(net)
    with torch.no_grad():
        net.weight.fill_(5)
        net.running_mean.fill_(7)
    update_ema(average, net, 0.75)
    assert torch.equal(average.weight.detach(), torch.full([3], 2.0))
    assert torch.equal(average.running_mean, torch.full([3], 7.0))
