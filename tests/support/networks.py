"""Tiny StyleGAN2 networks for tests."""

from __future__ import annotations

from typing import Any

import torch

from training.interface import ImageSpec
from training.networks.stylegan2 import (
    StyleGAN2Discriminator,
    StyleGAN2DiscriminatorConfig,
    StyleGAN2Generator,
    StyleGAN2GeneratorConfig,
)

SPEC = ImageSpec(resolution=16, channels=1, label_dim=0, num_images=1)


TINY = {'channel_base': 128, 'channel_max': 8}


def tiny_G(**options: Any) -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator(StyleGAN2GeneratorConfig(z_dim=8, w_dim=8, map_depth=2, **TINY, **options), SPEC)


def tiny_D(label_dim: int = 0, **options: Any) -> StyleGAN2Discriminator:
    torch.manual_seed(0)
    spec = ImageSpec(resolution=16, channels=1, label_dim=label_dim, num_images=1)
    return StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(**TINY, **options), spec)
