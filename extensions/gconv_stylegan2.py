"""GConv in StyleGAN2's blocks: the 3x3 convolutions recombine the kernels of each sample by its w.

Park and Shin (arXiv 2111.15171) state that GConv fits generators "without altering the network architecture"; they did
not try StyleGAN2. `GConvSynthesisLayer` documents what follows from their equations and what is this project's choice.
ToRGB is unchanged, as is the last convolution of the paper's own generator.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal

from extensions.layers.gconv import GConvSynthesisLayer
from training.augment.config import AugmentConfig
from training.config import R1Config, RunConfig, require
from training.data.shapes import images_at_once
from training.interface import ImageSpec
from training.networks.config import StyleGAN2GeneratorConfig
from training.networks.stylegan2 import StyleGAN2Generator
from training.networks.synthesis import BlockSpec, SynthesisBlock
from training.recipes import cifar, paper256
from training.registry import register_generator, register_recipe

PAPER = 'Park and Shin, Generative Convolution Layer for Image Generation, arXiv 2111.15171; Karras et al., CVPR 2020'


@dataclass(frozen=True, kw_only=True, slots=True)
class GConvStyleGAN2Config(StyleGAN2GeneratorConfig):
    """StyleGAN2's fields, and the position of the GConvs."""

    # Layers with GConv: conv0 doubles the resolution, conv1 follows it; 'none' is StyleGAN2.
    gconv: Literal['both', 'conv0', 'conv1', 'none'] = 'both'

    def __post_init__(self) -> None:
        StyleGAN2GeneratorConfig.__post_init__(self)  # no super(): it fails in a dataclass with slots
        require(
            self.gconv in ('both', 'conv0', 'conv1', 'none'), 'gconv', self.gconv, 'one of both, conv0, conv1, none'
        )


class GConvSynthesisBlock(SynthesisBlock):
    """StyleGAN2's block with GConv in the layers named by `cfg.gconv`."""

    def __init__(self, cfg: GConvStyleGAN2Config, spec: BlockSpec) -> None:
        super().__init__(cfg, spec)
        layer = partial(GConvSynthesisLayer, w_dim=cfg.w_dim, size=spec.size, conv_clamp=cfg.conv_clamp)
        if self.has_conv0 and cfg.gconv in ('both', 'conv0'):
            self.conv0 = layer(spec.in_channels, spec.out_channels, up=2)
        if cfg.gconv in ('both', 'conv1'):
            self.conv1 = layer(spec.out_channels, spec.out_channels)


@register_generator('gconv-stylegan2', config=GConvStyleGAN2Config)
class GConvStyleGAN2Generator(StyleGAN2Generator):
    """StyleGAN2's generator with GConv; mapping, truncation and style mixing are StyleGAN2's."""

    @staticmethod
    def make_block(cfg: GConvStyleGAN2Config, spec: BlockSpec) -> GConvSynthesisBlock:
        """Returns the block with GConv, at every resolution."""
        return GConvSynthesisBlock(cfg, spec)


@register_recipe('gconv-stylegan2', paper=PAPER, min_resolution=8)
def gconv_stylegan2(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns StyleGAN2's settings, `cifar` at 32x32 and `paper256` at other sizes, without augmentation.

    At sizes other than 256x256, R1's gamma scales with the number of pixels, as in StyleGAN2-ADA, and a process handles
    as many images at a time as have the pixels of the preset's eight, at least 4.
    """
    res = facts.resolution
    cfg = cifar(facts, num_gpus) if res == 32 else paper256(facts, num_gpus)
    options = {field.name: getattr(cfg.generator, field.name) for field in fields(cfg.generator)}
    cfg = replace(
        cfg, cfg='gconv-stylegan2', aug=AugmentConfig(kind='noaug'), generator=GConvStyleGAN2Config(**options)
    )
    if res in (32, 256):
        return cfg
    batch_gpu = min(images_at_once(8, 256, facts.pixels), cfg.batch // num_gpus)
    return replace(
        cfg,
        r1=R1Config(gamma=cfg.r1.gamma * facts.pixels / 256**2),
        batch_gpu=batch_gpu,
        discriminator=replace(cfg.discriminator, mbstd_group=min(cfg.discriminator.mbstd_group, batch_gpu)),
    )
