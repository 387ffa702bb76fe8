"""Layers: precision of blocks and the clamp of activations."""

from __future__ import annotations

import pytest
import torch

from tests.support.networks import tiny_D
from training.interface import ImageSpec
from training.networks.layers import LowerableBlock, set_precision
from training.networks.stylegan2 import (
    StyleGAN2Discriminator,
    StyleGAN2DiscriminatorConfig,
    StyleGAN2Generator,
    StyleGAN2GeneratorConfig,
)


@pytest.mark.parametrize(
    ('num_fp16_res', 'res', 'lowered'), [(4, 64, [8, 16, 32, 64]), (4, 16, [8, 16]), (0, 16, []), (1, 32, [32])]
)
def test_the_highest_resolutions_are_lowered_and_4x4_never(num_fp16_res: int, res: int, lowered: list[int]) -> None:
    spec = ImageSpec(resolution=res, channels=3, label_dim=0, num_images=1)
    options = {'channel_base': 64, 'channel_max': 2, 'num_fp16_res': num_fp16_res}
    for net in (
        StyleGAN2Generator(StyleGAN2GeneratorConfig(**options), spec).synthesis,
        StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(**options), spec),
    ):
        blocks = {name: m for name, m in net.named_children() if isinstance(m, LowerableBlock)}
        assert sorted(int(name[1:]) for name, block in blocks.items() if block.lowered) == lowered
    with pytest.raises(ValueError, match='float32, bfloat16 or float16'):
        set_precision(net, torch.float64)


@torch.no_grad()
def test_conv_clamp_bounds_activations_in_every_precision() -> None:
    D = tiny_D(conv_clamp=0.5)
    block = D.b16
    for dtype in (torch.float32, torch.bfloat16):
        set_precision(D, dtype)
        y = block.conv0(block.lower(torch.randn(2, 8, 16, 16) * 100))
        assert y.dtype == dtype
        assert float(y.abs().max()) == 0.5
