"""Recipes: the numbers that their papers and users know."""

import dataclasses

import pytest

from tests.support.recipes import own_recipes
from training.interface import ImageSpec
from training.networks.config import channels_at
from training.recipes import auto
from training.registry import RECIPES


def facts(resolution):
    return ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1000)


@pytest.mark.parametrize(
    ('resolution', 'gpus', 'batch', 'gamma', 'ema_kimg'),
    [
        (128, 1, 32, 0.1024, 10), (128, 2, 64, 0.0512, 20), (256, 1, 16, 0.8192, 5), (256, 2, 32, 0.4096, 10),
        (256, 8, 64, 0.2048, 20), (512, 1, 8, 6.5536, 2.5), (512, 4, 32, 1.6384, 10), (1024, 1, 4, 52.4288, 1.25),
        (1024, 8, 32, 6.5536, 10), (2048, 1, 2, 419.4304, 0.625),
    ],
)  # fmt: skip
def test_auto_has_the_numbers_that_users_know(resolution, gpus, batch, gamma, ema_kimg):
    cfg = auto(facts(resolution), gpus)
    assert (cfg.batch, cfg.ema.kimg, cfg.ema.rampup) == (batch, ema_kimg, 0.05)
    assert cfg.r1.gamma == pytest.approx(gamma)
    assert cfg.batch_gpu == batch // gpus
    assert cfg.discriminator.mbstd_group == min(batch // gpus, 4)
    assert cfg.g_opt.lr == (0.002 if resolution >= 1024 else 0.0025)
    assert cfg.generator.channel_base == (32768 if resolution >= 512 else 16384)
    assert cfg.generator.map_depth == 2


PRESETS = {  # kimg, batch, mbstd, fmaps, lr, gamma, ema kimg, ema ramp-up, mapping depth, micro-batch on one GPU
    'stylegan2': (25000, 32, 4, 1, 0.002, 10, 10, None, 8, 4),
    'paper256': (25000, 64, 8, 0.5, 0.0025, 1, 20, None, 8, 8),
    'paper512': (25000, 64, 8, 1, 0.0025, 0.5, 20, None, 8, 8),
    'paper1024': (25000, 32, 4, 1, 0.002, 2, 10, None, 8, 4),
    'cifar': (100000, 64, 32, 1, 0.0025, 0.01, 500, 0.05, 2, 32),
}


@pytest.mark.parametrize('name', PRESETS)
def test_presets_have_the_numbers_that_users_know(name):
    cfg = RECIPES.get(name).make(facts(256), 1)
    base = cfg.generator.channel_base / 32768
    assert PRESETS[name] == (
        cfg.kimg, cfg.batch, cfg.discriminator.mbstd_group, base, cfg.g_opt.lr, cfg.r1.gamma, cfg.ema.kimg,
        cfg.ema.rampup, cfg.generator.map_depth, cfg.batch_gpu,
    )  # fmt: skip
    tuned = name == 'cifar'
    assert (cfg.pl.weight, cfg.style_mixing_prob) == ((0, 0) if tuned else (2, 0.9))
    assert cfg.discriminator.architecture == ('orig' if tuned else 'resnet')
    assert (cfg.r1.interval, cfg.pl.interval) == (16, 4)


def test_squeeze_follows_table_1_of_its_paper():
    large, small = (RECIPES.get('squeeze').make(facts(resolution), 1) for resolution in (256, 32))
    for cfg, kimg, mbstd, gamma, ema, depth in ((large, 25000, 8, 1, 20, 8), (small, 100000, 32, 0.01, 500, 2)):
        assert (cfg.kimg, cfg.batch, cfg.discriminator.mbstd_group) == (kimg, 64, mbstd)
        assert (cfg.r1.gamma, cfg.ema.kimg, cfg.generator.map_depth) == (gamma, ema, depth)
        assert (cfg.g_opt.lr, cfg.d_opt.lr, cfg.generator.ratio) == (0.0025, 0.0025, 8)
    assert small.discriminator.architecture == 'orig'
    assert RECIPES.get('squeeze').make(facts(64), 1).r1.gamma == pytest.approx(1 / 16)


@pytest.mark.parametrize(
    ('resolution', 'base', 'gpus', 'batch', 'gamma', 'finest'),
    [
        (16, (4, 4), 1, 16, 0.125, 64), (32, (4, 4), 1, 16, 0.5, 32), (64, (4, 4), 1, 16, 2, 16),
        (128, (4, 4), 1, 16, 8, 16), (256, (4, 4), 1, 16, 32, 16), (64, (4, 6), 1, 16, 3, 16),
        (32, (4, 4), 3, 15, 0.5, 32), (32, (4, 4), 20, 20, 0.5, 32),
    ],
)  # fmt: skip
def test_squeeze_small_scales_what_was_searched_at_32x32(resolution, base, gpus, batch, gamma, finest):
    spec = dataclasses.replace(facts(resolution), base=base)
    cfg = RECIPES.get('squeeze-small').make(spec, gpus)
    assert (cfg.batch, cfg.batch_gpu, cfg.r1.gamma, cfg.r2.gamma) == (batch, batch // gpus, gamma, gamma)
    assert (cfg.loss.kind, cfg.r1.interval, cfg.g_opt.lr, cfg.d_opt.lr) == ('relativistic', 4, 0.01, 0.01)
    assert (cfg.generator.z_dim, cfg.generator.w_dim) == (128, 128)
    for network in (cfg.generator, cfg.discriminator):
        assert (channels_at(network, 4), channels_at(network, resolution)) == (128, finest)


def test_nvidias_presets_have_ada_and_other_recipes_what_their_papers_say():
    nvidia = {'auto', 'stylegan2', 'paper256', 'paper512', 'paper1024', 'cifar', 'stylegan3-t', 'stylegan3-r'}
    for resolution in (32, 64, 256):
        spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=100)
        kinds = {name: RECIPES.get(name).make(spec, 1).aug.kind for name in own_recipes()}
        ada = nvidia | {'squeeze'} if resolution == 32 else nvidia
        assert {kinds.pop(name) for name in ('r3gan', 'r3gan-imagenet')} == {'fixed'}
        assert {name for name, kind in kinds.items() if kind != 'noaug'} == ada
        assert {kinds[name] for name in ada} == {'ada'}
