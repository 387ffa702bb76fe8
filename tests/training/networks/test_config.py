"""Configs of StyleGAN2's networks: invalid options are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from dnnlib.errors import ConfigError
from tests.support.networks import SPEC, tiny_D
from training.interface import ImageSpec
from training.networks.stylegan2 import (
    StyleGAN2DiscriminatorConfig,
    StyleGAN2Generator,
    StyleGAN2GeneratorConfig,
)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: StyleGAN2GeneratorConfig(architecture='dense'), 'architecture=dense: one of skip, resnet, orig'),
        (lambda: StyleGAN2GeneratorConfig(z_dim=0), 'z_dim=0: must be at least 1'),
        (lambda: StyleGAN2GeneratorConfig(conv_clamp=0), 'conv_clamp=0: must be positive'),
        (lambda: StyleGAN2GeneratorConfig(w_avg_beta=1), 'w_avg_beta=1: must lie in'),
        (lambda: StyleGAN2DiscriminatorConfig(mbstd_group=0), 'mbstd_group=0: must be at least 1'),
        (lambda: tiny_D(freezed=8), 'freezed=8: the blocks of this discriminator have 7 layers'),
        (lambda: tiny_D(mbstd_channels=3), 'mbstd_channels=3: must divide the 8 channels'),
        (
            lambda: StyleGAN2Generator(
                StyleGAN2GeneratorConfig(), ImageSpec(resolution=48, channels=3, label_dim=0, num_images=1)
            ),
            'resolution=48: StyleGAN2 needs a power of two, at least 8',
        ),
        (
            lambda: StyleGAN2Generator(StyleGAN2GeneratorConfig(channel_base=8), SPEC),
            'channel_base=8: at 16x16 at least 16',
        ),
    ],
)
def test_an_option_that_cannot_work_is_named_with_the_way_out(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
