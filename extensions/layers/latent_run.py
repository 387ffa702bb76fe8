"""Config shared by GAN papers before StyleGAN: Adam, a batch of 64, no W space, no moving average."""

from __future__ import annotations

from typing import Any

from training.config import (
    EmaConfig,
    GradientPenaltyConfig,
    LossConfig,
    OptimizerConfig,
    PathLengthConfig,
    R1Config,
    RunConfig,
)
from training.data.shapes import images_at_once
from training.interface import ImageSpec

BATCH = 64


def latent_run(
    cfg: str,
    facts: ImageSpec,
    num_gpus: int,
    *,
    generator: Any,
    discriminator: Any,
    loss: LossConfig,
    gp: float = 0,
    g_lr: float = 0.0002,
    d_lr: float = 0.0002,
    beta1: float = 0.0,
    beta2: float = 0.9,
) -> RunConfig:
    """Returns a config with one step of D per step of G, without R1 and flips, and with G_ema equal to G.

    The length of 64,000 kimg is the million iterations of Tian et al. 2022, section 5, at batch 64. Up to 256x256, a
    process handles its share of the batch at once, so that BN's statistics cover it. Above, it handles as many images
    at a time as have the pixels of 64 at 256x256, at least 4.

    Args:
        cfg: name of the recipe.
        facts: facts of the data set.
        num_gpus: number of processes.
        generator: the generator's config.
        discriminator: the discriminator's config.
        loss: the adversarial loss.
        gp: weight of WGAN-GP's penalty, 0 for none.
        g_lr: learning rate of G.
        d_lr: learning rate of D.
        beta1: first coefficient of Adam, both networks.
        beta2: second coefficient of Adam, both networks.
    """
    return RunConfig(
        cfg=cfg,
        generator=generator,
        discriminator=discriminator,
        loss=loss,
        gp=GradientPenaltyConfig(weight=gp),
        r1=R1Config(gamma=0, interval=None),
        pl=PathLengthConfig(weight=0, interval=None),
        style_mixing_prob=0.0,
        g_opt=OptimizerConfig(lr=g_lr, beta1=beta1, beta2=beta2),
        d_opt=OptimizerConfig(lr=d_lr, beta1=beta1, beta2=beta2),
        ema=EmaConfig(kimg=0),
        gpus=num_gpus,
        batch=BATCH,
        batch_gpu=min(BATCH // num_gpus, images_at_once(BATCH, 256, facts.pixels)),
        kimg=64000,
    )
