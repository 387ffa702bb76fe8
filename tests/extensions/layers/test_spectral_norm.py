"""Spectral normalization: convergence, training and evaluation, copies, second derivatives."""

from __future__ import annotations

import copy

import pytest
import torch

from extensions.layers import spectral_norm
from extensions.layers.gconv import GConv2d
from extensions.layers.sngan import SNGANDiscriminator, SNGANDiscriminatorConfig
from torch_utils.ops.toolchain import build
from training.interface import ImageSpec
from training.networks import lowering
from training.networks.layers import set_precision

needs_kernels = pytest.mark.skipif(not build.load_cpu(), reason='no native operations')


@torch.no_grad()
def test_spectral_norms_of_k_w_s_and_w_l_converge_to_one() -> None:
    torch.manual_seed(0)
    layer = GConv2d(4, 6, v_dim=5, sn=True)
    x, v = torch.randn(2, 4, 4, 4), torch.randn(2, 5)
    for _ in range(500):
        layer(x, v)
    layer.eval()
    used = (layer.conv.normalized_weight(), layer.combine.normalized_weight(), layer.select.sn(layer.select.weight))
    for weight in used:
        assert abs(float(torch.linalg.matrix_norm(weight.flatten(1), 2)) - 1) < 1e-4


def test_spectral_norm_moves_in_training_alone_and_survives_copies() -> None:
    torch.manual_seed(0)
    spec = ImageSpec(resolution=16, channels=3, label_dim=3, num_images=64)
    cfg = SNGANDiscriminatorConfig(channel_base=128, channel_max=16)
    D, img, c = SNGANDiscriminator(cfg, spec), torch.randn(2, 3, 16, 16), torch.eye(2, 3)
    assert not torch.equal(D(img, c), D(img, c))
    D.eval()
    logits = D(img, c)
    assert torch.equal(D(img, c), logits)
    assert torch.equal(copy.deepcopy(D)(img, c), logits)
    other = SNGANDiscriminator(cfg, spec).eval()
    assert not torch.equal(other(img, c), logits)
    other.load_state_dict(D.state_dict())
    assert torch.equal(other(img, c), logits)


def test_a_normalised_network_is_twice_differentiable() -> None:
    torch.manual_seed(0)
    net = GConv2d(2, 3, v_dim=2, sn=True).double().eval()
    params = {key: p.detach().clone().requires_grad_(True) for key, p in net.named_parameters()}
    x = torch.randn(2, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    v = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)

    def run(x: torch.Tensor, v: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(net, dict(zip(params, values, strict=True)), (x, v))

    assert torch.autograd.gradcheck(run, (x, v, *params.values()))
    assert torch.autograd.gradgradcheck(run, (x, v, *params.values()))


def networks(dtype: torch.dtype = torch.float32) -> tuple[SNGANDiscriminator, SNGANDiscriminator]:
    """Returns two equal networks with labels, with blocks of a dtype."""
    torch.manual_seed(0)
    cfg = SNGANDiscriminatorConfig(channel_base=128, channel_max=16)
    D = SNGANDiscriminator(cfg, ImageSpec(resolution=16, channels=3, label_dim=3, num_images=64))
    set_precision(D, dtype)
    return D, copy.deepcopy(D)


@needs_kernels
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_weights_that_are_normalized_together_equal_those_of_layers_alone(
    dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    (together, alone), img, c = networks(dtype), torch.randn(2, 3, 16, 16), torch.eye(2, 3)
    for _ in range(3):
        results = []
        for D in (together, alone):
            for name in ('prepares', 'normalizes'):
                monkeypatch.setattr(lowering, name, lambda weight, D=D: D is together)
            logits = D(img, c)
            results.append([logits, *torch.autograd.grad(logits.square().sum(), list(D.parameters()))])
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(float(b.detach().abs().max()), 1e-3))
    for (name, a), (_, b) in zip(together.named_buffers(), alone.named_buffers(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name


@needs_kernels
def test_every_normalized_layer_takes_what_its_network_has_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    D, _ = networks(torch.bfloat16)
    requests = list(D.preparation.requests())
    assert {request.dtype for request in requests if request.name == 'weight'} == {torch.float32, torch.bfloat16}
    for name in ('prepares', 'normalizes'):
        monkeypatch.setattr(lowering, name, lambda weight: True)
    with lowering.prepared(requests):
        assert all(request.name in request.layer.ready for request in requests)
        D._logits(torch.randn(2, 3, 16, 16), torch.eye(2, 3))
        assert not any(request.layer.ready for request in requests)


@needs_kernels
def test_a_layer_that_runs_twice_in_a_pass_iterates_twice() -> None:
    torch.manual_seed(0)
    together = spectral_norm.Linear(3, 2, sn=True)
    alone, x = copy.deepcopy(together), torch.randn(4, 3)
    with pytest.MonkeyPatch.context() as patch:
        for name in ('prepares', 'normalizes'):
            patch.setattr(lowering, name, lambda weight: True)
        with lowering.prepared(together.requests(torch.float32)):
            found = [together(x), together(x)]
    for a, b in zip(found, [alone(x), alone(x)], strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(together.sn.u, alone.sn.u)


@needs_kernels
def test_evaluation_prepares_without_an_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = spectral_norm.ConvTranspose2d(2, 5, 3, sn=True).eval()
    x, u = torch.randn(1, 2, 4, 4), layer.sn.u.clone()
    expected = layer(x)
    for name in ('prepares', 'normalizes'):
        monkeypatch.setattr(lowering, name, lambda weight: True)
    with lowering.prepared(layer.requests(torch.float32)):
        assert set(layer.ready) == {'weight'}
        torch.testing.assert_close(layer(x), expected)
    assert torch.equal(layer.sn.u, u)
