"""RBN is its equations."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from extensions.layers.rbn import RBN
from torch_utils.seeding import seed_torch


def random_rbn(channels: int) -> RBN:
    seed_torch(0, 'test')
    module = RBN(channels).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


@pytest.mark.parametrize('training', [True, False])
def test_rbn_is_its_equations(training: bool) -> None:
    module = random_rbn(6).train(training)
    module.bn.running_mean.normal_()
    module.bn.running_var.uniform_(0.5, 2)
    before = (module.bn.running_mean.clone(), module.bn.running_var.clone())
    x = torch.randn(3, 6, 5, 4, dtype=torch.float64)
    untouched = x.clone()

    x_cm = x + module.w_m * x.mean(dim=[2, 3], keepdim=True)
    mean, var = x_cm.mean(dim=[0, 2, 3]), x_cm.var(dim=[0, 2, 3], correction=0)
    used = (mean, var) if training else before
    x_s = (x_cm - used[0][:, None, None]) / (used[1][:, None, None] + 1e-5).sqrt()
    k_s = x_s.mean(dim=[2, 3], keepdim=True)
    expected = x_s * torch.sigmoid(module.w_v * k_s + module.w_b) * module.gamma + module.beta

    assert (module(x) - expected).abs().max() < 1e-12
    assert torch.equal(x, untouched)
    unbiased = x_cm.var(dim=[0, 2, 3])
    moved = (before[0].lerp(mean, 0.1), before[1].lerp(unbiased, 0.1)) if training else before
    assert torch.allclose(module.bn.running_mean, moved[0], rtol=0, atol=1e-12)
    assert torch.allclose(module.bn.running_var, moved[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize('training', [True, False])
def test_rbn_without_feedback_is_scaled_batch_norm(training: bool) -> None:
    module = random_rbn(6).train(training)
    torch.nn.init.zeros_(module.w_m)
    torch.nn.init.zeros_(module.w_v)
    x = torch.randn(3, 6, 5, 4, dtype=torch.float64)
    normal = F.batch_norm(x, torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64), training=training)
    expected = torch.sigmoid(module.w_b) * module.gamma * normal + module.beta
    assert (module(x) - expected).abs().max() < 1e-12


def test_rbn_begins_as_0_731_of_batch_norm() -> None:
    x = torch.randn(3, 6, 5, 4, dtype=torch.float64)
    expected = torch.nn.BatchNorm2d(6).double()(x) / (1 + math.exp(-1))
    assert (RBN(6).double()(x) - expected).abs().max() < 1e-12
