"""The formulas of training: schedules, optimiser corrections, presets, averages, each against its definition."""

import pytest
import torch

from training.build import resolve_precision
from training.config import with_precision
from training.interface import ImageSpec
from training.objective.pl import path_length_penalty
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


def test_the_mean_path_length_moves_first_and_carries_gradient():
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    penalty, mean = path_length_penalty(lengths, torch.tensor(1.0), decay=0.5)
    assert mean.item() == 1.5
    assert not mean.requires_grad
    assert penalty.tolist() == [0.25, 2.25]
    penalty.mean().backward()
    # d/dl_i of 1/2 sum (l_j - m)^2 with m = 0.5 + 0.25 (l_0 + l_1): (l_i - m) - 0.25 sum (l_j - m)
    assert lengths.grad.tolist() == pytest.approx([-0.5 - 0.25, 1.5 - 0.25])


def test_precision_lowers_blocks_and_only_float16_clamps():
    cfg = auto(facts(256), 1)
    for precision, clamp, lowered in (('fp16', 256, 4), ('bf16', None, 4), ('fp32', None, 0)):
        changed = with_precision(cfg, precision)
        for network in (changed.generator, changed.discriminator):
            assert (network.conv_clamp, network.num_fp16_res) == (clamp, lowered)
        assert changed.precision == precision
    assert resolve_precision('auto', torch.device('cpu')) in ('bf16', 'fp32')
    assert resolve_precision('fp16', torch.device('cpu')) == 'fp16'


def test_gradient_accumulation_averages():
    """Two micro-batches of 4 give the gradient of one batch of 8 where no statistic couples samples."""
    import dataclasses

    from training.build import build
    from training.data.dataset import DataConfig, ImageDataset
    from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
    from training.step import TrainStep

    dataset = ImageDataset(DataConfig(resolution=8))
    widths = {'channel_base': 64, 'channel_max': 8, 'conv_clamp': None}
    base = dataclasses.replace(
        auto(dataset.spec, 1),
        generator=StyleGAN2GeneratorConfig(z_dim=8, w_dim=8, map_depth=1, **widths),
        discriminator=StyleGAN2DiscriminatorConfig(mbstd_channels=0, **widths),
        style_mixing_prob=0, batch=8, batch_gpu=8,
    )  # fmt: skip
    img = torch.randint(0, 256, [8, 3, 8, 8], dtype=torch.uint8)
    gradients = []
    for batch_gpu in (8, 4):
        cfg = dataclasses.replace(base, batch_gpu=batch_gpu)
        state = build(cfg, dataset.spec, torch.device('cpu'))
        step = TrainStep(cfg, state, dataset, torch.device('cpu'))
        phase = next(phase for phase in step.phases if phase.name == 'Dreg')  # R1 sees real images alone: no latents
        step.run_phase(phase, step.split(img, torch.zeros(8, 0)))
        gradients.append(torch.cat([p.grad.flatten() for p in state.D.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)
