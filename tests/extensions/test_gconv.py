"""The gconv networks have the sizes, the wiring and the settings of the paper's tables, and every option works."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from extensions.gconv import GConvConfig, GConvGenerator, gconv
from extensions.layers.batch_norm import BigBN
from extensions.layers.gconv import GConv2d
from extensions.layers.sngan import SNGANDiscriminator, SNGANDiscriminatorConfig
from tests.extensions.layers.test_gconv import kernels, largest
from training.config import RunConfig
from training.interface import ImageSpec
from training.optimize.optimizers import make_optimizer


def facts(resolution: int, label_dim: int = 0, channels: int = 3) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=channels, label_dim=label_dim, num_images=64)


def size(net: torch.nn.Module, pattern: str = '') -> int:
    return sum(p.numel() for name, p in net.named_parameters() if re.search(pattern, name))


# ---- sizes

CONV_WEIGHTS = r'blocks\.\d+\.conv[01]\.(conv|select|combine)\.weight'
GENERATORS = [  # resolution, labels, options, conv weights (the paper's count), all parameters
    (32, 0, {'convolution': 'conv'}, 3_538_944, 3_781_379),
    (32, 0, {}, 4_374_528, 4_616_963),
    (32, 0, {'convolution': 'conv_wide'}, 4_386_150, 4_656_048),
    (32, 0, {'convolution': 'conv', 'channel_base': 284 * 32, 'channel_max': 284}, 4_355_424, 4_624_375),
    (32, 0, {'convolution': 'conv', 'attention': 'ca'}, 3_538_944, 3_832_163),
    (32, 0, {'attention': 'ca'}, 4_374_528, 4_667_747),
    (32, 0, {'attention': 'cbam'}, 4_374_528, 4_667_747 + 6 * (2 * 7 * 7 + 1)),
    (32, 10, {}, 4_389_888, 4_663_043),
    (32, 100, {}, 4_528_128, 5_077_763),
    (32, 0, {'activation': 'glu'}, 4_374_528, 4_715_267),
    (128, 0, {'convolution': 'conv'}, 11_759_616, 12_424_323),
    (128, 0, {}, 14_381_056, 15_318_147),
    (128, 0, {'gconv_shortcut': False}, 14_381_056, 15_045_763),
    (128, 200, {}, None, 17_353_347),
    (128, 200, {'gconv_shortcut': False}, None, 16_991_363),
    (256, 0, {'convolution': 'conv'}, 11_787_264, 12_459_331),
    (256, 0, {}, 14_415_872, 15_364_419),
    (256, 0, {'gconv_shortcut': False}, 14_415_872, 15_087_939),
]


@pytest.mark.parametrize(('resolution', 'label_dim', 'options', 'weights', 'total'), GENERATORS)
def test_generators_have_their_number_of_parameters(
    resolution: int, label_dim: int, options: dict, weights: int | None, total: int
) -> None:
    spec = facts(resolution, label_dim)
    with torch.device('meta'):
        G = GConvGenerator(replace(gconv(spec, 1).generator, **options), spec)
    assert size(G) == total
    assert weights is None or size(G, CONV_WEIGHTS) == weights


def test_conv_wide_is_285_channels_everywhere_at_32() -> None:
    with torch.device('meta'):
        G = GConvGenerator(replace(gconv(facts(32), 1).generator, convolution='conv_wide'), facts(32))
    shapes = {tuple(p.shape) for name, p in G.named_parameters() if name.endswith('conv.weight')}
    assert shapes == {(285, 285, 3, 3)}


# ---- the networks


def small(label_dim: int = 0, resolution: int = 32, **options: Any) -> GConvGenerator:
    """Returns a generator whose widths change only at the last block."""
    torch.manual_seed(0)
    fields = {'z_dim': 8, 'channel_base': 512, 'channel_max': 32} | options
    return GConvGenerator(GConvConfig(**fields), facts(resolution, label_dim))


@torch.no_grad()
@pytest.mark.parametrize('activation', ['relu', 'elu'])
def test_the_generator_is_table_1(activation: str) -> None:
    G = small(label_dim=3, activation=activation)
    z, c = torch.randn(4, 8), torch.eye(4, 3)
    v, act = torch.cat([z, c], dim=1), getattr(F, activation)

    def up(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    def gconv_layer(layer: GConv2d, x: torch.Tensor) -> torch.Tensor:
        return torch.stack(
            [
                F.conv2d(sample[None], k, layer.conv.bias, padding=k.shape[-1] // 2)[0]
                for sample, k in zip(x, kernels(layer, x, v), strict=True)
            ]
        )

    def norm(layer: BigBN, x: torch.Tensor) -> torch.Tensor:
        x = F.batch_norm(x, None, None, training=True)
        return x * (1 + layer.gain(v))[:, :, None, None] + layer.shift(v)[:, :, None, None]

    x = (z @ G.fc.weight.t() + G.fc.bias).reshape(4, 32, 4, 4)
    for block, changes in zip(G.blocks, (False, False, True), strict=True):
        h = gconv_layer(block.conv0, up(act(norm(block.act0.norm, x))))
        h = gconv_layer(block.conv1, act(norm(block.act1.norm, h)))
        assert (block.skip is not None) == changes
        x = h + up(gconv_layer(block.skip, x) if changes else x)
    assert x.shape == (4, 16, 32, 32)
    x = torch.relu(F.batch_norm(x, None, None, G.bn.weight, G.bn.bias, training=True))
    assert largest(G(z, c), torch.tanh(F.conv2d(x, G.rgb.weight, G.rgb.bias, padding=1))) < 1e-4


OPTIONS = [
    {},
    {'convolution': 'conv'},
    {'convolution': 'conv_wide'},
    {'attention': 'ca'},
    {'attention': 'cbam'},
    {'activation': 'elu'},
    {'activation': 'glu'},
    {'gconv_shortcut': False},
    {'sn': 'layers'},
    {'sn': 'all', 'attention': 'cbam', 'activation': 'glu'},
]


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_every_parameter_gets_a_gradient_but_biases_that_bn_removes(options: dict) -> None:
    G = small(label_dim=3, channel_base=1024, channel_max=64, **options)
    img = G(torch.randn(4, 8), torch.eye(4, 3))
    (img * torch.randn_like(img)).sum().backward()
    sizes = {name: float(p.grad.abs().max()) for name, p in G.named_parameters()}
    dead = {name for name, value in sizes.items() if value < 1e-5 * max(sizes.values())}
    assert all(re.fullmatch(r'blocks\.\d\.(conv[01]|skip)\.conv\.bias', name) for name in dead), dead
    if options.get('attention', 'none') == 'none':
        assert 'blocks.0.conv0.conv.bias' in dead


def test_normalisation_is_where_the_option_says() -> None:
    normalised = {sn: {key for key in small(sn=sn).state_dict() if key.endswith('sn.u')} for sn in ('none', 'layers')}
    assert normalised['none'] == set()
    weights = {key for key in small().state_dict() if re.search(r'(conv\d?|select|combine|fc|rgb)\.weight', key)}
    assert {key.replace('sn.u', 'weight') for key in normalised['layers']} == weights
    bigbn = {key for key in small(sn='all').state_dict() if re.search(r'(gain|shift)\.sn\.u', key)}
    assert len(bigbn) == 3 * 2 * 2


# ---- recipes


def test_recipes_have_the_papers_columns() -> None:
    def column(cfg: RunConfig) -> tuple:
        rates = cfg.g_opt.lr, cfg.d_opt.lr
        images = cfg.batch, cfg.batch_gpu, cfg.batch * cfg.g_batch_mult
        return *rates, *images, cfg.n_critic, cfg.kimg, cfg.lr_decay_kimg, cfg.generator.sn

    cifar = (2e-4, 2e-4, 64, 64, 128, 5, 50_000 * 5 * 64 // 1000, 50_000 * 5 * 64 / 1000, 'none')
    lsun = (1e-4, 4e-4, 32, 32, 32, 1, 300_000 * 32 // 1000, 50_000 * 32 / 1000, 'layers')
    tiny = (1e-4, 4e-4, 32, 32, 32, 1, 1_000_000 * 32 // 1000, 50_000 * 32 / 1000, 'layers')
    celeba = (2e-4, 2e-4, 16, 16, 32, 5, 100_000 * 5 * 16 // 1000, 50_000 * 5 * 16 / 1000, 'none')
    rows = {(32, 0): cifar, (32, 100): cifar, (64, 0): lsun, (128, 0): lsun, (128, 200): tiny}
    rows |= {(256, 0): celeba, (1024, 0): celeba}
    for (resolution, label_dim), expected in rows.items():
        cfg = gconv(facts(resolution, label_dim), 1)
        assert column(cfg) == expected
        assert (cfg.loss.kind, cfg.ema.kimg, cfg.style_mixing_prob, cfg.pl.weight, cfg.r1.gamma) == (
            'hinge',
            0,
            0,
            0,
            0,
        )
        adam = make_optimizer(torch.nn.Linear(1, 1), cfg.g_opt, cfg.pl.interval).param_groups[0]
        assert (adam['lr'], adam['betas'], adam['eps']) == (cfg.g_opt.lr, (0.0, 0.9), 1e-8)
        adam = make_optimizer(torch.nn.Linear(1, 1), cfg.d_opt, cfg.r1.interval).param_groups[0]
        assert (adam['lr'], adam['betas']) == (cfg.d_opt.lr, (0.0, 0.9))
    assert gconv(facts(32), 4).batch_gpu == 16


TABLE_1 = {32: [256] * 4, 128: [512, 512, 512, 256, 128, 64], 256: [512, 512, 512, 256, 128, 64, 32]}
TABLE_2 = {32: [128] * 4, 128: [64, 128, 256, 512, 512, 512], 256: [32, 64, 128, 256, 512, 512, 512]}


@pytest.mark.parametrize('resolution', [32, 128, 256])
def test_recipes_have_the_papers_widths(resolution: int) -> None:
    spec = facts(resolution)
    cfg = gconv(spec, 1)
    with torch.device('meta'):
        G, D = GConvGenerator(cfg.generator, spec), SNGANDiscriminator(cfg.discriminator, spec)
    widths = [G.fc.weight.shape[0] // 16, *(block.conv1.conv.weight.shape[0] for block in G.blocks)]
    assert widths == TABLE_1[resolution]
    assert [block.conv1.weight.shape[0] for block in D.blocks] == TABLE_2[resolution]
    down = [block.down for block in D.blocks]
    assert down == ([True] * 2 + [False] * 2 if resolution == 32 else [True] * (len(down) - 1) + [False])


def test_the_generator_starts_from_z_and_a_zero_z_is_one_image() -> None:
    G = small(label_dim=3).eval()
    z, c = torch.randn(4, 8), torch.eye(3)[[0, 0, 1, 2]]
    img = G(z, c, truncation_psi=0)
    assert torch.equal(img[0], img[1])
    assert torch.equal(G(z, c, truncation_psi=0.5), G(z * 0.5, c))
    with pytest.raises(ValueError, match="noise_mode 'constant': must be random, const or none"):
        G(z, c, noise_mode='constant')


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: GConvConfig(convolution='dense'), 'convolution=dense: one of gconv, conv, conv_wide'),
        (lambda: GConvConfig(attention='se'), 'attention=se: one of none, ca, cbam'),
        (lambda: GConvConfig(activation='gelu'), 'activation=gelu: one of relu, elu, glu'),
        (lambda: GConvConfig(sn='yes'), 'sn=yes: one of none, layers, all'),
        (lambda: GConvConfig(z_dim=0), 'z_dim=0: must be at least 1'),
        (lambda: small(resolution=24), 'resolution=24: gconv needs a power of two, at least 8'),
        (lambda: small(channel_base=16), 'channel_base=16: at 32x32 at least 32'),
        (lambda: SNGANDiscriminatorConfig(num_plain=-1), 'num_plain=-1: must be non-negative'),
        (lambda: SNGANDiscriminatorConfig(channel_max=0), 'channel_max=0: must be at least 1'),
        (lambda: SNGANDiscriminator(SNGANDiscriminatorConfig(num_plain=5), facts(32)), 'num_plain=5: at 32x32 at most'),
        (lambda: SNGANDiscriminator(SNGANDiscriminatorConfig(channel_base=16), facts(32)), 'channel_base=16: at 32x32'),
        (lambda: SNGANDiscriminator(SNGANDiscriminatorConfig(), facts(24)), 'resolution=24: SNGAN'),
    ],
)
def test_an_option_that_cannot_work_is_named(build: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
