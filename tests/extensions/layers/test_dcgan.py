"""The DCGAN-shaped pair: widths, stages, precision, and the base of images that are not square."""

from __future__ import annotations

import torch

from extensions.layers.dcgan import (
    DCGANDiscriminator,
    DCGANDiscriminatorConfig,
    DCGANGenerator,
    DCGANGeneratorConfig,
    width,
)
from training.interface import ImageSpec
from training.networks.config import is_lowered

SMALL = {'channel_base': 64, 'channel_max': 8, 'channel_min': 4}


def spec(resolution: int = 32, base: tuple[int, int] = (4, 4)) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1, base=base)


def test_widths_are_clipped_on_both_sides() -> None:
    cfg = DCGANGeneratorConfig(channel_base=1024, channel_max=128, channel_min=64)
    assert [width(cfg, res) for res in (4, 8, 16, 32)] == [128, 128, 64, 64]


def test_the_highest_stages_are_lowered_and_4x4_never() -> None:
    cfg = DCGANGeneratorConfig(num_fp16_res=2)
    assert [is_lowered(cfg, spec(64), res) for res in (4, 8, 16, 32)] == [False, False, False, True]
    assert [is_lowered(DCGANGeneratorConfig(num_fp16_res=9), spec(64), res) for res in (4, 8)] == [False, True]


def test_kernels_at_the_ends_have_the_size_of_the_base() -> None:
    wide = spec(16, base=(4, 6))
    G = DCGANGenerator(DCGANGeneratorConfig(**SMALL), wide)
    D = DCGANDiscriminator(DCGANDiscriminatorConfig(**SMALL), wide)
    assert tuple(G.b4.layer.conv.kernel_size) == tuple(D.last.kernel_size) == (4, 6)
    img = G(torch.randn(2, G.z_dim), torch.zeros(2, 0))
    assert img.shape == (2, 3, 16, 24)
    assert D(img, torch.zeros(2, 0)).shape == (2, 1)


def test_an_extra_convolution_keeps_the_size_of_its_stage() -> None:
    G = DCGANGenerator(DCGANGeneratorConfig(extra=(8,), **SMALL), spec())
    assert [getattr(G, f'b{res}').extra is not None for res in G.stages] == [False, True, False]
    assert G(torch.randn(2, G.z_dim), torch.zeros(2, 0)).shape == (2, 3, 32, 32)
