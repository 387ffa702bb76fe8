"""The run that the GAN papers before StyleGAN share: Adam, a batch of 64, no W space, no moving average."""

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
    """One step of D for one of G, 64,000 kimg: the million iterations of Tian et al. 2022, section 5, at batch 64.

    gp: weight of WGAN-GP's penalty, 0 for none. No R1, no flips, G_ema is G. Up to 256x256 a process takes its share
    of the batch at once, as BN's statistics want; above that, as many images as have the pixels of 64 at 256x256, and
    at least 4, with the statistics of so many.
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
