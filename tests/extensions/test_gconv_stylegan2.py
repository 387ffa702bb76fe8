"""GConv in StyleGAN2's blocks is Eq. (8) on the modulated kernel, and StyleGAN2 itself where W_L is zero."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from extensions.gconv_stylegan2 import GConvStyleGAN2Config, GConvStyleGAN2Generator, gconv_stylegan2
from extensions.layers.gconv import GConvSynthesisLayer
from torch_utils.ops import dispatch
from torch_utils.ops.conv2d_resample import conv2d_resample
from training.interface import ImageSpec, StyleGenerator
from training.networks.layers import LRELU_GAIN, set_precision
from training.networks.stylegan2 import StyleGAN2Generator, StyleGAN2GeneratorConfig
from training.recipes import cifar, paper256

SMALL = {'z_dim': 8, 'w_dim': 12, 'map_depth': 2, 'channel_base': 512, 'channel_max': 24}


def facts(resolution: int, label_dim: int = 0) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=3, label_dim=label_dim, num_images=64)


def small(**options: Any) -> GConvStyleGAN2Generator:
    torch.manual_seed(0)
    G = GConvStyleGAN2Generator(GConvStyleGAN2Config(**(SMALL | options)), facts(32))
    for name, p in G.named_parameters():
        if name.endswith('noise_strength'):
            torch.nn.init.constant_(p, 0.1)
    return G


@torch.no_grad()
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('noise_mode', ['none', 'const', 'random'])
@pytest.mark.parametrize('architecture', ['skip', 'resnet', 'orig'])
def test_without_w_l_it_is_stylegan2_bit_for_bit(architecture: str, noise_mode: str, dtype: torch.dtype) -> None:
    G = small(architecture=architecture)
    plain = StyleGAN2Generator(StyleGAN2GeneratorConfig(architecture=architecture, **SMALL), facts(32))
    shared = {key: value for key, value in G.state_dict().items() if key.split('.')[-1] not in ('select', 'combine')}
    plain.load_state_dict(shared)
    set_precision(G, dtype)
    set_precision(plain, dtype)
    z = torch.randn(3, 8)
    images = []
    for clear in (False, True):
        for name, p in G.named_parameters():
            if clear and name.endswith('combine'):
                torch.nn.init.zeros_(p)
        for net in (G, plain):
            torch.manual_seed(1)
            with dispatch.default('ref'):  # kernels round once where these operations round one by one
                images.append(net(z, None, noise_mode=noise_mode))
    assert not torch.equal(images[0], images[1])
    assert torch.equal(images[2], images[3])


@pytest.mark.parametrize('up', [1, 2])
@pytest.mark.parametrize('out_channels', [5, 120])
def test_the_layer_has_a_kernel_for_every_sample(out_channels: int, up: int) -> None:
    """Modulated, demodulated (StyleGAN2, Eq. 1 and 3), recombined (GConv, Eq. 5 to 7), then filtered as StyleGAN2's."""
    torch.manual_seed(0)
    layer = GConvSynthesisLayer(4, out_channels, w_dim=6, size=(5 * up, 5 * up), up=up).double()
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.constant_(layer.noise_strength, 0.3)
    x, w = torch.randn(3, 4, 5, 5, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    w_l = layer.combine / out_channels**0.5  # [O, O]
    expected = []
    for sample, style, vector in zip(x, layer.affine(w), w, strict=True):
        kernel = layer.weight * style[:, None, None]  # [O, I, k, k]
        kernel = kernel / (kernel.square().sum([1, 2, 3], keepdim=True) + 1e-8).sqrt()
        s = torch.sigmoid(layer.select / 10**0.5 @ torch.cat([sample.mean([1, 2]), vector]))  # [O]
        kernel = kernel + torch.einsum('po,o,oikl->pikl', w_l, s, kernel)
        y = conv2d_resample(sample[None], kernel, layer.resample_filter, up, padding=1, flip_weight=up == 1)
        y = y + layer.noise_const * layer.noise_strength + layer.bias[:, None, None]
        expected.append(F.leaky_relu(y, 0.2) * LRELU_GAIN)
    result = layer(x, w, 'const')
    assert float((result - torch.cat(expected)).detach().abs().max()) < 1e-10


@pytest.mark.parametrize('gconv', ['both', 'conv0', 'conv1', 'none'])
def test_gconv_is_where_the_option_says_and_every_parameter_gets_a_gradient(gconv: str) -> None:
    G = small(gconv=gconv)
    assert isinstance(G, StyleGenerator)
    found = {name for name, module in G.named_modules() if isinstance(module, GConvSynthesisLayer)}
    layers = {
        'conv0': {f'synthesis.b{res}.conv0' for res in (8, 16, 32)},
        'conv1': {f'synthesis.b{res}.conv1' for res in (4, 8, 16, 32)},
        'none': set(),
    }
    assert found == layers.get(gconv, layers['conv0'] | layers['conv1'])
    img = G(torch.randn(2, 8), None)
    (img * torch.randn_like(img)).sum().backward()
    assert [name for name, p in G.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(('resolution', 'gamma', 'batch_gpu'), [(8, 2**-10, 64), (64, 1 / 16, 64), (512, 4, 4)])
def test_the_recipe_scales_paper256(resolution: int, gamma: float, batch_gpu: int) -> None:
    cfg = gconv_stylegan2(facts(resolution), 1)
    assert (cfg.r1.gamma, cfg.batch_gpu) == (gamma, batch_gpu)
    assert cfg.batch_gpu % min(cfg.discriminator.mbstd_group, cfg.batch_gpu) == 0


def test_the_recipe_is_stylegan2s_but_for_the_generators_kind_and_without_ada() -> None:
    for resolution, preset in ((32, cifar), (256, paper256)):
        cfg, base = gconv_stylegan2(facts(resolution), 1), preset(facts(resolution), 1)
        shared = {field.name: getattr(cfg.generator, field.name) for field in fields(base.generator)}
        assert StyleGAN2GeneratorConfig(**shared) == base.generator
        assert cfg.aug.kind == 'noaug'
        assert replace(cfg, cfg=base.cfg, generator=base.generator, aug=base.aug) == base
        assert cfg.generator.gconv == 'both'


def test_an_option_that_cannot_work_is_named() -> None:
    with pytest.raises(ConfigError, match='gconv=all: one of both, conv0, conv1, none'):
        GConvStyleGAN2Config(gconv='all')
    with pytest.raises(ConfigError, match='channel_max=0: must be at least 1'):
        GConvStyleGAN2Config(channel_max=0)
