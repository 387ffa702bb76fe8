"""Spectral normalization: convergence, training and evaluation, copies, second derivatives."""

from __future__ import annotations

import copy

import pytest
import torch

from extensions.layers import spectral_norm
from extensions.layers.gconv import GConv2d
from extensions.layers.sngan import SNGANDiscriminator, SNGANDiscriminatorConfig
from training.interface import ImageSpec


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


def networks() -> tuple[SNGANDiscriminator, SNGANDiscriminator]:
    """Returns two equal networks with labels."""
    torch.manual_seed(0)
    cfg = SNGANDiscriminatorConfig(channel_base=128, channel_max=16)
    D = SNGANDiscriminator(cfg, ImageSpec(resolution=16, channels=3, label_dim=3, num_images=64))
    return D, copy.deepcopy(D)


def iterate(D: SNGANDiscriminator) -> None:
    """Does what the hook does on a GPU."""
    layers = [m for m in D.modules() if isinstance(getattr(m, 'sn', None), spectral_norm.SpectralNorm)]
    spectral_norm.power_iterations([(m.sn, m.weight) for m in layers])


def test_norms_that_iterate_together_equal_norms_that_iterate_alone() -> None:
    (together, alone), img, c = networks(), torch.randn(2, 3, 16, 16), torch.eye(2, 3)
    for _ in range(3):
        iterate(together)
        assert torch.allclose(together(img, c), alone(img, c), atol=1e-6)
    for (name, a), (_, b) in zip(together.named_buffers(), alone.named_buffers(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name


def test_a_layer_that_runs_twice_in_a_pass_iterates_twice() -> None:
    (together, alone), img, c = networks(), torch.randn(2, 3, 16, 16), torch.eye(2, 3)
    iterate(together)
    for D in (together, alone):
        D(img, c)
        D(img, c)
    assert torch.allclose(together.out.sn.u, alone.out.sn.u, atol=1e-6)


def test_zero_weights_and_transposed_convolutions_iterate_together() -> None:
    layers = [spectral_norm.Conv2d(2, 3, 1, sn=True), spectral_norm.ConvTranspose2d(2, 5, 3, sn=True)]
    torch.nn.init.zeros_(layers[0].weight)
    spectral_norm.power_iterations([(m.sn, m.weight) for m in layers])
    assert layers[0].sn.u.tolist() == [0, 0, 0]
    assert float(layers[1].sn.u.norm()) == pytest.approx(1, abs=1e-6)
