"""The config shared by GAN papers before StyleGAN: what is off, and how a batch is divided."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from extensions.layers.latent_run import latent_run
from training.config import LossConfig
from training.interface import ImageSpec


@dataclass(frozen=True)
class NoConfig:
    """A network without options."""


def run(resolution: int, num_gpus: int = 1, **options: float):
    facts = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1)
    networks = {'generator': NoConfig(), 'discriminator': NoConfig(), 'loss': LossConfig(kind='hinge')}
    return latent_run('mine', facts, num_gpus, **networks, **options)


def test_regularization_style_mixing_and_the_average_are_off() -> None:
    cfg = run(32)
    assert (cfg.r1.gamma, cfg.pl.weight, cfg.gp.weight, cfg.style_mixing_prob, cfg.ema.kimg) == (0, 0, 0, 0, 0)
    assert (cfg.batch, cfg.kimg, cfg.n_critic, cfg.aug.kind) == (64, 64000, 1, 'noaug')


def test_learning_rates_and_the_penalty_are_those_that_were_asked_for() -> None:
    cfg = run(32, gp=10, g_lr=1e-4, d_lr=4e-4, beta1=0.5, beta2=0.999)
    assert (cfg.gp.weight, cfg.g_opt.lr, cfg.d_opt.lr) == (10, 1e-4, 4e-4)
    assert {(opt.beta1, opt.beta2) for opt in (cfg.g_opt, cfg.d_opt)} == {(0.5, 0.999)}


@pytest.mark.parametrize(('resolution', 'gpus', 'batch_gpu'), [(32, 1, 64), (256, 4, 16), (512, 1, 16), (1024, 8, 4)])
def test_a_process_takes_its_share_and_above_256_the_pixels_of_64_images(resolution, gpus, batch_gpu) -> None:
    assert run(resolution, gpus).batch_gpu == batch_gpu
