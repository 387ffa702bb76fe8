"""StyleGAN2's recipes: complete run configs from the facts of a data set (StyleGAN2-ADA, tables of its appendix C)."""

from __future__ import annotations

from dataclasses import replace

from training.augment.config import AugmentConfig
from training.config import EmaConfig, OptimizerConfig, PathLengthConfig, R1Config, RunConfig
from training.interface import ImageSpec
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.networks.discriminator import StyleGAN2Discriminator  # noqa: F401 (registers itself)
from training.networks.stylegan2 import StyleGAN2Generator  # noqa: F401 (registers itself)
from training.registry import register_recipe

STYLEGAN2 = 'Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020'
ADA = 'Karras et al., Training Generative Adversarial Networks with Limited Data, NeurIPS 2020'


def style_run(
    cfg: str,
    num_gpus: int,
    *,
    kimg: int,
    batch: int,
    reference_gpus: int,
    fmaps: float,
    mbstd: int,
    lr: float,
    gamma: float,
    ema_kimg: float,
    ema_rampup: float | None,
    map_depth: int,
) -> RunConfig:
    """Returns a StyleGAN2 run from the columns of the presets' table, with ADA as StyleGAN2-ADA has it by default.

    Args:
        cfg: Name of the recipe.
        num_gpus: Number of GPUs of this run.
        kimg: Length of the run, in thousands of images.
        batch: Images per step.
        reference_gpus: Number of GPUs of the preset. With fewer, its micro-batch is kept and gradients are accumulated;
            with more, the micro-batch shrinks.
        fmaps: Width of the networks, as a share of channel_base 32768.
        mbstd: Group size of the minibatch standard deviation.
        lr: Learning rate of G and D.
        gamma: Weight of R1.
        ema_kimg: Half-life of the moving average, in thousands of images.
        ema_rampup: Largest half-life as a fraction of the images shown so far; None for no limit.
        map_depth: Layers of the mapping network.
    """
    base = int(fmaps * 32768)
    batch_gpu = batch // max(reference_gpus, num_gpus)
    return RunConfig(
        cfg=cfg,
        generator=StyleGAN2GeneratorConfig(channel_base=base, map_depth=map_depth),
        discriminator=StyleGAN2DiscriminatorConfig(channel_base=base, mbstd_group=mbstd),
        r1=R1Config(gamma=gamma),
        pl=PathLengthConfig(),
        aug=AugmentConfig(kind='ada'),
        g_opt=OptimizerConfig(lr=lr),
        d_opt=OptimizerConfig(lr=lr),
        ema=EmaConfig(kimg=ema_kimg, rampup=ema_rampup),
        gpus=num_gpus,
        batch=batch,
        batch_gpu=batch_gpu,
        kimg=kimg,
    )


@register_recipe('auto', paper=ADA)
def auto(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns settings by resolution and number of GPUs that are reasonable anywhere, optimal nowhere."""
    res = facts.resolution
    batch = max(min(num_gpus * min(4096 // res, 32), 64), num_gpus)
    batch -= batch % num_gpus
    return style_run(
        'auto',
        num_gpus,
        kimg=25000,
        batch=batch,
        reference_gpus=num_gpus,
        fmaps=1 if res >= 512 else 0.5,
        mbstd=min(batch // num_gpus, 4),
        lr=0.002 if res >= 1024 else 0.0025,
        gamma=0.0002 * facts.pixels / batch,
        ema_kimg=batch * 10 / 32,
        ema_rampup=0.05,
        map_depth=2,
    )


@register_recipe('stylegan2', paper=STYLEGAN2)
def stylegan2(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns config F of the paper, for 1024 px."""
    return style_run('stylegan2', num_gpus, kimg=25000, batch=32, reference_gpus=8, fmaps=1, mbstd=4, lr=0.002,
                     gamma=10, ema_kimg=10, ema_rampup=None, map_depth=8)  # fmt: skip


@register_recipe('paper256', paper=ADA)
def paper256(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the settings for FFHQ and LSUN at 256 px."""
    return style_run('paper256', num_gpus, kimg=25000, batch=64, reference_gpus=8, fmaps=0.5, mbstd=8, lr=0.0025,
                     gamma=1, ema_kimg=20, ema_rampup=None, map_depth=8)  # fmt: skip


@register_recipe('paper512', paper=ADA)
def paper512(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the settings for AFHQ and BreCaHAD at 512 px."""
    return style_run('paper512', num_gpus, kimg=25000, batch=64, reference_gpus=8, fmaps=1, mbstd=8, lr=0.0025,
                     gamma=0.5, ema_kimg=20, ema_rampup=None, map_depth=8)  # fmt: skip


@register_recipe('paper1024', paper=ADA)
def paper1024(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the settings for MetFaces at 1024 px."""
    return style_run('paper1024', num_gpus, kimg=25000, batch=32, reference_gpus=8, fmaps=1, mbstd=4, lr=0.002,
                     gamma=2, ema_kimg=10, ema_rampup=None, map_depth=8)  # fmt: skip


@register_recipe('cifar', paper=ADA)
def cifar(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the tuned settings for CIFAR-10 at 32 px: no path length, no style mixing, D without skips."""
    cfg = style_run('cifar', num_gpus, kimg=100000, batch=64, reference_gpus=2, fmaps=1, mbstd=32, lr=0.0025,
                    gamma=0.01, ema_kimg=500, ema_rampup=0.05, map_depth=2)  # fmt: skip
    return replace(
        cfg,
        pl=PathLengthConfig(weight=0),
        style_mixing_prob=0.0,
        discriminator=replace(cfg.discriminator, architecture='orig'),
    )
