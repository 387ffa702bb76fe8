"""The GIU module, RBN and self-attention are their equations, with exact gradients of the gradient penalty."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from extensions.giu import GIUDiscriminator, GIUDiscriminatorConfig
from extensions.layers.giu import GIU, ChannelGate
from extensions.layers.spectral_norm import SpectralNorm
from tests.extensions.layers.test_rbn import random_rbn
from torch_utils.seeding import seed_torch
from training.interface import ImageSpec
from training.networks.layers import LowerableBlock

DOUBLE = torch.float64


def in_double(net: torch.nn.Module) -> torch.nn.Module:
    """Returns the network with float64 parameters and computations."""
    for module in net.modules():
        if isinstance(module, LowerableBlock):
            module.lowered, module.lowp_dtype = True, DOUBLE
    return net.double()


def slow_giu(module: GIU, x: torch.Tensor, k: int, group_channels: int, gate_value: bool) -> torch.Tensor:
    """Computes Eq. (7) to (10) pixel by pixel."""
    n, c, height, width = x.shape
    z = x.sum(dim=[2, 3]) / (height * width)
    s = torch.sigmoid((z @ module.gate.squeeze.weight.T).clamp(min=0) @ module.gate.excite.weight.T)
    gated = s[:, :, None, None] * x
    w2, w3 = module.kernel.reduce.weight[:, :, 0, 0], module.kernel.span.weight[:, :, 0, 0]
    hidden = torch.einsum('oc,nchw->nohw', w2, gated) + module.kernel.reduce.bias[:, None, None]
    if isinstance(module.kernel.norm, torch.nn.BatchNorm2d):
        mean, var = hidden.mean(dim=[0, 2, 3], keepdim=True), hidden.var(dim=[0, 2, 3], keepdim=True, correction=0)
        hidden = (hidden - mean) / (var + module.kernel.norm.eps).sqrt()
    h = torch.einsum('oc,nchw->nohw', w3, hidden.clamp(min=0)) + module.kernel.span.bias[:, None, None]
    h = h.reshape(n, c // group_channels, k, k, height, width)
    value = gated if gate_value else x
    y = torch.zeros_like(x)
    for ch in range(c):
        for i in range(height):
            for j in range(width):
                for u in range(-(k // 2), k // 2 + 1):
                    for v in range(-(k // 2), k // 2 + 1):
                        if 0 <= i + u < height and 0 <= j + v < width:
                            weight = h[:, ch // group_channels, u + k // 2, v + k // 2, i, j]
                            y[:, ch, i, j] += weight * value[:, ch, i + u, j + v]
    return y


@pytest.mark.parametrize('gate_value', [False, True])
@pytest.mark.parametrize(('k', 'group_channels', 'kernel_norm'), [(3, 4, 'bn'), (5, 2, 'none'), (1, 8, 'bn')])
def test_giu_is_its_equations(k: int, group_channels: int, kernel_norm: Any, gate_value: bool) -> None:
    seed_torch(0, 'test')
    options = {'k': k, 'group_channels': group_channels, 'kernel_norm': kernel_norm, 'gate_value': gate_value}
    module = GIU(8, se_ratio=2, **options).double()
    x = torch.randn(2, 8, 4, 3, dtype=DOUBLE)
    with torch.no_grad():
        expected = slow_giu(module, x, k, group_channels, gate_value)
        assert (module(x) - expected).abs().max() < 1e-12


def test_gate_weighs_channels_between_zero_and_one() -> None:
    seed_torch(0, 'test')
    gate = ChannelGate(16, 4).double()
    x = torch.randn(3, 16, 5, 7, dtype=DOUBLE)
    s = gate(x)
    assert s.shape == (3, 16, 1, 1)
    assert ((s > 0) & (s < 1)).all()
    # Only the means count.
    assert torch.allclose(gate(x.mean(dim=[2, 3], keepdim=True)), s, rtol=0, atol=1e-14)
    assert not torch.allclose(gate(-x), s)


def test_group_norm_keeps_samples_apart_and_batch_norm_does_not() -> None:
    leaks = {}
    for norm in ('bn', 'gn', 'none'):
        seed_torch(0, 'test')
        module = GIU(8, group_channels=4, se_ratio=2, kernel_norm=norm).double()
        x = torch.randn(3, 8, 4, 4, dtype=DOUBLE, requires_grad=True)
        (grad,) = torch.autograd.grad(module(x)[0].square().sum(), x)
        assert grad[0].abs().max() > 1e-3
        leaks[norm] = float(grad[1:].abs().max())
    assert leaks['gn'] == leaks['none'] == 0
    assert leaks['bn'] > 1e-6


@pytest.mark.parametrize('training', [True, False])
def test_rbn_and_giu_are_differentiable_twice(training: bool) -> None:
    x = torch.randn(2, 4, 3, 3, dtype=DOUBLE, requires_grad=True)
    for module in (random_rbn(4), GIU(4, group_channels=2, kernel_ratio=2, se_ratio=2).double()):
        module.train(training)
        assert torch.autograd.gradcheck(module, (x,), fast_mode=True)
        assert torch.autograd.gradgradcheck(module, (x,), fast_mode=True)


@pytest.mark.parametrize('kernel_norm', ['bn', 'gn'])
def test_gradient_penalty_has_exact_gradients_in_every_parameter_of_d(kernel_norm: Any) -> None:
    """Through involution, squeeze and excitation, spectral norm and BN, on a small D."""
    seed_torch(0, 'test')
    cfg = GIUDiscriminatorConfig(
        channel_base=16, channel_min=2, group_channels=2, kernel_ratio=2, se_ratio=2, kernel_norm=kernel_norm
    )
    D = in_double(GIUDiscriminator(cfg, ImageSpec(resolution=16, channels=1, label_dim=0, num_images=1)))
    for module in D.modules():
        if isinstance(module, SpectralNorm):
            module.eval()  # so that u does not move between evaluations
    x = torch.randn(3, 1, 16, 16, dtype=DOUBLE, requires_grad=True)
    names = [name for name, _ in D.named_parameters()]

    def penalty(*values: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(D, dict(zip(names, values, strict=True)), (x, torch.zeros(3, 0)))
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return (gradient.square().sum(dim=[1, 2, 3]).sqrt() - 1).square().mean()

    values = tuple(p.detach().clone().requires_grad_(True) for p in D.parameters())
    grads = torch.autograd.grad(penalty(*values), values, allow_unused=True)
    # The logit's own bias alone has no part in the gradient of the image.
    assert [name for name, grad in zip(names, grads, strict=True) if grad is None] == ['last.bias']
    moving = {name for name, grad in zip(names, grads, strict=True) if grad is not None and grad.abs().max() > 1e-9}
    assert set(names) - moving <= {'last.bias', 'b4.tail.kernel.reduce.bias'}
    assert torch.autograd.gradcheck(penalty, values, atol=1e-6)
