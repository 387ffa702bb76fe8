"""Image squeeze connection: the second convolution of a block becomes a bottleneck whose narrow side feeds ToRGB.

Park and Shin, arXiv 2407.05527, section III-B, Fig. 2 and 6. At r = 8 and 256x256 the paper prints 21.80 M parameters;
this reading has 21,809,908. The rows for r = 4 and 16 agree within 1 %. The 21.75 M printed for r = 8 without blending
cannot be the same network without the blend, which has 18,101,359.

Letters: N batch, C channels of a block, F = max(C / r, 1) squeezed channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch

from training.augment.config import AugmentConfig
from training.config import LossConfig, PathLengthConfig, R1Config, R2Config, RunConfig, require
from training.data.shapes import images_at_once
from training.interface import ImageSpec
from training.networks.config import StyleGAN2GeneratorConfig
from training.networks.stylegan2 import StyleGAN2Generator
from training.networks.synthesis import (
    BlockSpec,
    NoiseMode,
    SynthesisBlock,
    SynthesisBlockBase,
    SynthesisLayer,
    ToRGB,
)
from training.recipes import cifar, paper256, style_run
from training.registry import register_generator, register_recipe

PAPER = 'Park and Shin, Rethinking Image Skip Connections in StyleGAN2, arXiv 2407.05527'


@dataclass(frozen=True, kw_only=True, slots=True)
class SqueezeConfig(StyleGAN2GeneratorConfig):
    """StyleGAN2's fields and those of the squeeze block. Eq. (7) sums the image over blocks, as 'skip' does."""

    ratio: int = 8  # r: ratio of C to the width of the squeezed features (Table V: 4, 8, 16)
    blend: bool = True  # feature blending with f_i (Fig. 6(a)); False: f_o = f_e (Table VI)
    rgb: Literal['squeeze', 'pre', 'excite'] = 'squeeze'  # input of ToRGB: f_s, f_i (Fig. 6(b)), f_e (Fig. 6(c))
    # Block at 4x4. The paper replaces "the two 3x3 convolution layers" of a block, and this block has only one. 'plain'
    # is StyleGAN2's block, the reading that gives the printed count; 'const' uses f_i = const (20.89 M parameters);
    # 'conv' adds a convolution for f_i (23.51 M).
    b4: Literal['plain', 'const', 'conv'] = 'plain'

    def __post_init__(self) -> None:
        StyleGAN2GeneratorConfig.__post_init__(self)  # no super(): it fails in a dataclass with slots
        require(self.ratio >= 1, 'ratio', self.ratio, 'must be at least 1; the paper uses 4, 8 and 16')
        require(self.rgb in ('squeeze', 'pre', 'excite'), 'rgb', self.rgb, 'one of squeeze, pre, excite')
        require(self.b4 in ('plain', 'const', 'conv'), 'b4', self.b4, 'one of plain, const, conv')
        require(self.architecture == 'skip', 'architecture', self.architecture, 'squeeze is defined for skip only')


class Blend(SynthesisLayer):
    """StyleGAN2's layer on the concatenation of f_i and f_e, computed without storing the concatenated tensor.

    blend([f_i, f_e], ...) equals blend(torch.cat([f_i, f_e], dim=1), ...).
    """

    def forward(
        self, x: torch.Tensor | Sequence[torch.Tensor], w: torch.Tensor, noise_mode: NoiseMode, gain: float = 1
    ) -> torch.Tensor:
        return self.convolve(x, w, noise_mode, gain)


class SqueezeBlock(SynthesisBlockBase):
    """Squeeze block: f_i = conv0(x), f_s = squeeze(f_i), f_e = excite(f_s), f_o = blend([f_i, f_e]); ToRGB reads f_s.

    The last block ends at the input of ToRGB, since later layers would not affect the image. Every convolution is a
    StyleGAN2 layer (modulation, demodulation, noise, bias, leaky ReLU) with its own w.
    """

    def __init__(self, cfg: SqueezeConfig, spec: BlockSpec) -> None:
        super().__init__(spec)
        self.rgb = cfg.rgb
        c, f = spec.out_channels, max(spec.out_channels // cfg.ratio, 1)
        has_squeeze = not spec.is_last or cfg.rgb != 'pre'
        has_excite = not spec.is_last or cfg.rgb == 'excite'
        has_blend = not spec.is_last and cfg.blend
        shared: dict[str, Any] = {'w_dim': cfg.w_dim, 'size': spec.size, 'conv_clamp': cfg.conv_clamp}

        self.conv0 = None
        if spec.in_channels > 0:
            self.conv0 = SynthesisLayer(spec.in_channels, c, up=2, **shared)
        elif cfg.b4 == 'conv':
            self.conv0 = SynthesisLayer(c, c, **shared)
        self.squeeze = SynthesisLayer(c, f, **shared) if has_squeeze else None
        self.excite = SynthesisLayer(f, c, **shared) if has_excite else None
        self.blend = Blend(2 * c, c, kernel_size=1, **shared) if has_blend else None
        rgb_channels = f if cfg.rgb == 'squeeze' else c
        self.torgb = ToRGB(rgb_channels, spec.img_channels, w_dim=cfg.w_dim, conv_clamp=cfg.conv_clamp)
        self.num_conv = sum(conv is not None for conv in (self.conv0, self.squeeze, self.excite, self.blend))
        self.num_torgb = 1

    def forward(
        self, x: torch.Tensor | None, img: torch.Tensor | None, ws: Sequence[torch.Tensor], noise_mode: NoiseMode
    ) -> tuple[torch.Tensor, torch.Tensor]:
        w = iter(ws)

        def apply(layer: SynthesisLayer | None, features: torch.Tensor) -> torch.Tensor:
            return features if layer is None else layer(features, next(w), noise_mode)

        f_i = apply(self.conv0, self.start(x, ws[0].shape[0]))  # [N, C, H, W]
        f_s = apply(self.squeeze, f_i)  # [N, F, H, W]
        f_e = apply(self.excite, f_s)  # [N, C, H, W]
        f_o = f_e if self.blend is None else self.blend([f_i, f_e], next(w), noise_mode)  # [N, C, H, W]
        f_rgb = {'squeeze': f_s, 'pre': f_i, 'excite': f_e}[self.rgb]
        return f_o, self.draw(img, self.torgb(f_rgb, next(w)))


@register_generator('squeeze', config=SqueezeConfig)
class SqueezeGenerator(StyleGAN2Generator):
    """StyleGAN2's generator with squeeze blocks; mapping, truncation and style mixing are StyleGAN2's."""

    @staticmethod
    def make_block(cfg: SqueezeConfig, spec: BlockSpec) -> SynthesisBlockBase:
        """Returns the squeeze block, or StyleGAN2's block at 4x4 if `cfg.b4` is 'plain'."""
        if spec.in_channels == 0 and cfg.b4 == 'plain':
            return SynthesisBlock(cfg, spec)
        return SqueezeBlock(cfg, spec)


def with_squeeze(cfg: StyleGAN2GeneratorConfig, **changes: int) -> SqueezeConfig:
    """Returns the config of a generator with squeeze blocks: StyleGAN2's fields, with other values for `changes`."""
    return SqueezeConfig(**{field.name: getattr(cfg, field.name) for field in fields(cfg)} | changes)


@register_recipe('squeeze', paper=PAPER, min_resolution=16)
def squeeze(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns Table I's config: CIFAR-10's column at 32x32, that of FFHQ, LSUN and AFHQ (256x256) at other sizes.

    The paper gives no settings for other sizes. There, R1's gamma scales with the number of pixels, as in
    StyleGAN2-ADA, and a process handles as many images at a time as have the pixels of the preset's eight, at least 4.
    The paper uses ADA for CIFAR-10 and AFHQ, not for FFHQ and LSUN: here it is on at 32x32 and off at other sizes.
    """
    res = facts.resolution
    cfg = cifar(facts, num_gpus) if res == 32 else paper256(facts, num_gpus)
    cfg = replace(cfg, aug=AugmentConfig(kind='ada' if res == 32 else 'noaug'))
    cfg = replace(cfg, cfg='squeeze', generator=with_squeeze(cfg.generator))
    if res in (32, 256):
        return cfg
    batch_gpu = min(images_at_once(8, 256, facts.pixels), cfg.batch // num_gpus)
    group = min(cfg.discriminator.mbstd_group, batch_gpu)
    return replace(
        cfg,
        r1=R1Config(gamma=cfg.r1.gamma * facts.pixels / 256**2),
        batch_gpu=batch_gpu,
        discriminator=replace(cfg.discriminator, mbstd_group=group),
    )


@register_recipe('squeeze-small', paper=f'{PAPER}; settings of bench/results/demo.md', min_resolution=16)
def squeeze_small(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns settings for small images, short runs and a few CPU cores: those of `make demo`, on any data.

    A search found them at 32x32, without labels, in runs of up to 60 kimg (bench/results/demo.md); the demo has 100.
    All else is that of `squeeze` at 32x32, CIFAR-10's column. No other size was searched. There, gamma is proportional
    to the number of pixels, as in `auto`, but 40 times as large as there at this batch, as at 32x32: 2 at 64x64, 8 at
    128x128. A resolution has 1024 / resolution channels, at most 128, as at 32x32. From 128x128 up it is 16 times the
    images' resolution in place of 1024: with fewer than 16 channels in the last block, ToRGB would read a single one.
    Labels are those of `squeeze`.
    """
    gamma = 0.5 * facts.pixels / 32**2
    cfg = style_run(
        'squeeze-small',
        num_gpus,
        kimg=100,
        batch=max(16 // num_gpus, 1) * num_gpus,
        reference_gpus=num_gpus,
        fmaps=max(1024, 16 * facts.resolution) / 32768,
        mbstd=32,  # the whole micro-batch, which is smaller
        lr=0.01,
        gamma=gamma,
        ema_kimg=500,
        ema_rampup=0.05,
        map_depth=2,
    )
    return replace(
        cfg,
        generator=with_squeeze(cfg.generator, z_dim=128, w_dim=128, channel_max=128),
        discriminator=replace(cfg.discriminator, channel_max=128, architecture='orig'),
        loss=LossConfig(kind='relativistic'),
        r1=R1Config(gamma=gamma, interval=4),
        r2=R2Config(gamma=gamma),
        pl=PathLengthConfig(weight=0),
        style_mixing_prob=0.0,
        aug=AugmentConfig(kind='noaug'),
    )
