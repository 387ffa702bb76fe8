"""Batch normalization without casts: running statistics, precision, penalties, and the orders of its derivatives."""

from __future__ import annotations

import pytest
import torch

from torch_utils.ops.batch_norm import batch_norm


def features(dtype: torch.dtype) -> list[torch.Tensor]:
    """Returns features [8, 5, 6, 4], factor and summand [5]; all require a gradient."""
    torch.manual_seed(0)
    x = (torch.randn(8, 5, 6, 4) * 3 + torch.arange(5.0)[:, None, None]).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    return [t.requires_grad_() for t in (x, torch.rand(5).to(wide) + 0.5, torch.randn(5).to(wide))]


def penalty(tensors: list[torch.Tensor], fused: bool) -> list[torch.Tensor]:
    """Returns gradients of a gradient penalty, as in WGAN-GP, in all tensors."""
    y = batch_norm(*tensors, fused=fused)
    (dx,) = torch.autograd.grad(y.sin().sum(), tensors[0], create_graph=True)
    loss = (dx.float() if dx.dtype == torch.bfloat16 else dx).square().sum() + y.square().mean()
    return list(torch.autograd.grad(loss, tensors))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_running_statistics_move_as_those_of_pytorch(dtype: torch.dtype) -> None:
    x, weight, bias = features(dtype)
    stored = [[torch.zeros(5), torch.ones(5)] for _ in range(2)]
    for fused, (mean, var) in zip((True, False), stored, strict=True):
        batch_norm(x, weight, bias, mean, var, momentum=0.3, fused=fused)
    assert not torch.equal(stored[0][0], torch.zeros(5))
    for a, b in zip(*stored, strict=True):
        torch.testing.assert_close(a, b)


def test_features_of_low_precision_are_rounded_only_once() -> None:
    x, weight, bias = (t.detach() for t in features(torch.bfloat16))
    assert torch.equal(batch_norm(x, weight, bias, fused=True), batch_norm(x, weight, bias, fused=False))


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_gradients_of_a_penalty_are_those_of_float64(dtype: torch.dtype, tolerance: float) -> None:
    tensors = features(dtype)
    wide = [t.detach().double().requires_grad_() for t in tensors]
    for found, wanted in zip(penalty(tensors, fused=True), penalty(wide, fused=False), strict=True):
        assert float((found.double() - wanted).norm()) < tolerance * float(wanted.norm())


def test_gradients_of_sums_alone_have_derivatives() -> None:
    """Second derivatives of dgamma and dbeta exist where dx gets no gradient."""
    results = []
    for fused in (True, False):
        tensors = features(torch.float64)
        y = batch_norm(*tensors, fused=fused)
        sums = torch.autograd.grad(y.sin().sum(), tensors[1:], create_graph=True)
        results.append(torch.autograd.grad(sum(s.square().sum() for s in sums), tensors))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_third_derivatives_are_those_of_pytorch() -> None:
    results = []
    for fused in (True, False):
        tensors = features(torch.float64)
        g = batch_norm(*tensors, fused=fused).sin().sum()
        for _ in range(2):
            (dx,) = torch.autograd.grad(g, tensors[0], create_graph=True)
            g = dx.square().sum()
        results.append(torch.autograd.grad(g, tensors))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
