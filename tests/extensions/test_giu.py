"""GIU-GANs' options and those of its baselines: places of modules, parts of a run, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dnnlib.errors import ConfigError
from extensions.giu import GIUDiscriminator, GIUDiscriminatorConfig, GIUGenerator, GIUGeneratorConfig, places
from extensions.layers.dcgan import DCGANDiscriminator, DCGANDiscriminatorConfig, DCGANGenerator, DCGANGeneratorConfig
from extensions.layers.giu import GIU
from extensions.layers.rbn import RBN
from extensions.layers.spectral_norm import SpectralNorm
from torch_utils.seeding import seed_torch
from training.build import build_networks
from training.interface import ImageSpec, StyleGenerator
from training.registry import RECIPES

SMALL = {'channel_base': 64, 'channel_max': 16, 'channel_min': 4}


def spec(resolution: int = 32) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1)


# ---- places of modules


STAGES = {16: [4, 8], 32: [4, 8, 16], 64: [4, 8, 16, 32], 128: [4, 8, 16, 32, 64]}
PLACED = [
    ('low', {16: {4}, 32: {4}, 64: {4, 8}, 128: {4, 8, 16}}),
    ('middle', {32: {8}, 64: {16}, 128: {32}}),
    ('high', {16: {8}, 32: {16}, 64: {32}, 128: {64}}),
    ('both_ends', {16: {4, 8}, 32: {4, 16}, 64: {4, 8, 32}, 128: {4, 8, 16, 64}}),
    ('all', {res: set(stages) for res, stages in STAGES.items()}),
    ('none', {res: set() for res in STAGES}),
    ('4,16', {32: {4, 16}, 64: {4, 16}}),
]


@pytest.mark.parametrize(('place', 'expected'), PLACED)
def test_places_are_stages(place: str, expected: dict[int, set[int]]) -> None:
    for res, stages in expected.items():
        assert places(place, STAGES[res]) == stages
        assert places(place, STAGES[res][::-1]) == stages


@pytest.mark.parametrize(('place', 'expected'), [('low', [4, 8]), ('4,32', [4, 32]), ('none', [])])
def test_modules_stand_behind_the_chosen_stages_of_both_networks(place: str, expected: list[int]) -> None:
    options = {**SMALL, 'group_channels': 4, 'se_ratio': 4, 'place': place}
    for net in (
        GIUGenerator(GIUGeneratorConfig(**options), spec(64)),
        GIUDiscriminator(GIUDiscriminatorConfig(**options), spec(64)),
    ):
        assert sorted(res for res in net.stages if isinstance(getattr(net, f'b{res}').tail, GIU)) == expected


@pytest.mark.parametrize(
    ('rbn', 'expected'), [('ends', [4, 32]), ('first', [4]), ('all', [4, 8, 16, 32]), ('none', [])]
)
def test_rbn_stands_where_it_is_wanted(rbn: Any, expected: list[int]) -> None:
    G = GIUGenerator(GIUGeneratorConfig(rbn=rbn, place='none', **SMALL), spec(64))
    norms = {res: getattr(G, f'b{res}').layer.norm for res in G.stages}
    assert [res for res, norm in norms.items() if isinstance(norm, RBN)] == expected
    assert all(isinstance(norm, torch.nn.BatchNorm2d) for res, norm in norms.items() if res not in expected)


def normed(net: torch.nn.Module) -> set[str]:
    return {name.removesuffix('.sn') for name, module in net.named_modules() if isinstance(module, SpectralNorm)}


def test_spectral_norm_divides_the_backbone_but_the_last_layers() -> None:
    for net in build_networks(RECIPES.get('giu').make(spec(), 1), spec()):
        assert normed(net) == {f'b{res}.layer.conv' for res in (4, 8, 16)}
    last = GIUGenerator(GIUGeneratorConfig(sn_last=True, place='none', **SMALL), spec())
    assert normed(last) == {'b4.layer.conv', 'b8.layer.conv', 'b16.layer.conv', 'last'}
    for net in build_networks(RECIPES.get('wgan-gp+3').make(spec(), 1), spec()):
        assert normed(net) == set()


def test_without_modules_and_rbn_it_is_the_backbone_bit_for_bit() -> None:
    pairs = []
    for g_class, g_config, d_class, d_config, options in (
        (DCGANGenerator, DCGANGeneratorConfig, DCGANDiscriminator, DCGANDiscriminatorConfig, {}),
        (GIUGenerator, GIUGeneratorConfig, GIUDiscriminator, GIUDiscriminatorConfig, {'place': 'none'}),
    ):
        rbn = {'rbn': 'none'} if options else {}
        seed_torch(0, 'test')
        G = g_class(g_config(**SMALL, **options, **rbn), spec())
        D = d_class(d_config(**SMALL, **options), spec())
        img = G(torch.randn(4, 128), torch.zeros(4, 0))
        pairs.append((G, D, img, D(img, torch.zeros(4, 0))))
    (G, D, img, logits), (other_G, other_D, other_img, other_logits) = pairs
    assert (G.state_dict().keys(), D.state_dict().keys()) == (other_G.state_dict().keys(), other_D.state_dict().keys())
    assert torch.equal(img, other_img)
    assert torch.equal(logits, other_logits)


def test_the_baseline_is_giu_without_modules_and_rbn() -> None:
    giu, base = (RECIPES.get(name).make(spec(64), 1) for name in ('giu', 'giu-base'))
    assert (base.generator.place, base.generator.rbn, base.discriminator.place) == ('none', 'none', 'none')
    for field in ('loss', 'gp', 'g_opt', 'd_opt', 'batch', 'batch_gpu', 'kimg', 'n_critic', 'ema', 'r1', 'pl'):
        assert getattr(base, field) == getattr(giu, field)


# --cfg: loss, weight of the penalty, lr of G and D, betas
RUNS = {
    'giu': ('wasserstein', 10, 2e-4, 2e-4, 0, 0.9),
    'giu-base': ('wasserstein', 10, 2e-4, 2e-4, 0, 0.9),
    'giu-norbn': ('wasserstein', 10, 2e-4, 2e-4, 0, 0.9),
    'giu-nogiu': ('wasserstein', 10, 2e-4, 2e-4, 0, 0.9),
    'wgan-gp': ('wasserstein', 10, 2e-4, 2e-4, 0, 0.9),
    'wgan-gp+2': ('wasserstein', 10, 2e-4, 2e-4, 0, 0.9),
    'wgan-gp+3': ('wasserstein', 10, 2e-4, 2e-4, 0, 0.9),
    'sngan': ('hinge', 0, 2e-4, 2e-4, 0, 0.9),
    'sagan': ('hinge', 0, 1e-4, 4e-4, 0, 0.9),
    'lsgan': ('lsgan', 0, 2e-4, 2e-4, 0.5, 0.999),
    'dcgan': ('cross_entropy', 0, 2e-4, 2e-4, 0.5, 0.999),
}


@pytest.mark.parametrize('name', RUNS)
def test_recipes_are_the_papers_runs(name: str) -> None:
    for resolution, gpus in ((32, 1), (64, 2), (256, 8), (1024, 1)):
        cfg = RECIPES.get(name).make(spec(resolution), gpus)
        g, d = cfg.g_opt, cfg.d_opt
        assert (cfg.loss.kind, cfg.gp.weight, g.lr, d.lr, g.beta1, g.beta2) == RUNS[name]
        assert (d.beta1, d.beta2) == (g.beta1, g.beta2)
        assert (cfg.batch, cfg.kimg, cfg.n_critic, cfg.ema.kimg, cfg.data.mirror) == (64, 64000, 1, 0, False)
        assert (cfg.r1.gamma, cfg.r1.interval, cfg.pl.weight, cfg.pl.interval) == (0, None, 0, None)
        assert cfg.cfg == name
        assert cfg.batch_gpu == {32: 64, 64: 32, 256: 8, 1024: 4}[resolution]
    G, _ = build_networks(RECIPES.get(name).make(spec(), 1), spec())
    assert not isinstance(G, StyleGenerator)


# ---- refusals


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'place': 'deep'}, 'place=deep: one of low, none, middle, high, both_ends, all, or resolutions such as 4,8'),
        ({'place': ''}, 'place=: one of'),
        ({'k': 4}, 'k=4: must be odd'),
        ({'k': -1}, 'k=-1: must be odd'),
        ({'group_channels': 0}, 'group_channels=0: must be at least 1'),
        ({'kernel_norm': 'in'}, 'kernel_norm=in: one of bn, gn, none'),
        ({'rbn': 'last'}, 'rbn=last: one of ends, none, first, all'),
        ({'act': 'gelu'}, 'act=gelu: one of relu, lrelu'),
        ({'z_dim': 0}, 'z_dim=0: must be at least 1'),
        ({'channel_max': 32}, 'channel_min=64: at most channel_max=32'),
    ],
)
def test_an_option_that_cannot_work_is_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GIUGeneratorConfig(**options)


@pytest.mark.parametrize(
    ('resolution', 'options', 'message'),
    [
        (48, {}, 'resolution=48: must be a power of two, at least 16'),
        (8, {}, 'resolution=8: must be a power of two, at least 16'),
        (16, {'place': 'middle'}, 'place=middle: needs images of at least 32x32'),
        (32, {'place': '4,32'}, 'place=4,32: the stages of these images are 4, 8, 16'),
        (32, {'extra': (5,)}, r'extra=\[5\]: at 32x32 the stages are \[4, 8, 16\]'),
        (32, {'group_channels': 24}, 'group_channels=24: must divide the 256 channels'),
        (32, {'kernel_ratio': 3}, 'kernel_ratio=3: must divide the 256 channels'),
        (32, {'se_ratio': 512}, 'se_ratio=512: must divide the 256 channels'),
    ],
)
def test_a_network_that_the_images_cannot_have_is_refused(resolution: int, options: dict, message: str) -> None:
    for build, config in ((GIUGenerator, GIUGeneratorConfig), (GIUDiscriminator, GIUDiscriminatorConfig)):
        with pytest.raises(ConfigError, match=message):
            build(config(channel_base=32 * resolution, **options), spec(resolution))


@pytest.mark.parametrize('name', ['giu', 'lsgan'])
def test_an_unknown_noise_mode_is_refused(name: str) -> None:
    G, _ = build_networks(RECIPES.get(name).make(spec(), 1), spec())
    with pytest.raises(ValueError, match="noise_mode='loud'"):
        G(torch.randn(2, G.z_dim), torch.zeros(2, 0), noise_mode='loud')
