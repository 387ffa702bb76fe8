"""Image squeeze connection: each block's second convolution becomes a bottleneck whose narrow side feeds the image.

arXiv 2407.05527, figures 5 and 6. Letters: N batch, C channels of a block, F = max(C / r, 1) squeezed channels, H and W
height and width. The paper prints 21.80 M parameters at r = 8 and 256x256; this reading has 21,809,908. Its rows for r = 4
and 16 lie within 1 % of this reading, its 21.75 M without blending cannot be the same network minus the blend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from training.config import require
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


@dataclass(frozen=True, kw_only=True, slots=True)
class SqueezeConfig(StyleGAN2GeneratorConfig):
    """StyleGAN2's fields, and those of the squeeze block. The image is the sum of all blocks' ('skip'), as Eq. 7 needs."""

    ratio: int = 8  # r: how many times narrower the squeezed features are (Table V: 4, 8, 16)
    blend: bool = True  # feature blending with f_i (Fig. 6(a)); False: f_o = f_e (Table VI)
    rgb: Literal['squeeze', 'pre', 'excite'] = 'squeeze'  # what ToRGB reads: f_s, f_i (Fig. 6(b)), f_e (Fig. 6(c))
    # The paper replaces "the two 3x3 convolution layers" of a block; the one at 4x4 has a single one. 'plain', StyleGAN2's
    # own block, is the reading that gives the printed count; 'const' takes f_i = const (20.89 M), 'conv' adds a
    # convolution for f_i (23.51 M).
    b4: Literal['plain', 'const', 'conv'] = 'plain'

    def __post_init__(self) -> None:
        StyleGAN2GeneratorConfig.__post_init__(self)  # by name: super() does not work in a class with slots
        require(self.ratio >= 1, 'ratio', self.ratio, 'must be at least 1; the paper uses 4, 8 and 16')
        require(self.rgb in ('squeeze', 'pre', 'excite'), 'rgb', self.rgb, 'one of squeeze, pre, excite')
        require(self.b4 in ('plain', 'const', 'conv'), 'b4', self.b4, 'one of plain, const, conv')
        require(self.architecture == 'skip', 'architecture', self.architecture, 'squeeze is defined for skip alone')


class SqueezeBlock(SynthesisBlockBase):
    """f_i = conv0(x), f_s = squeeze(f_i), f_e = excite(f_s), f_o = blend([f_i, f_e]); ToRGB reads f_s.

    The last block ends where ToRGB reads: whatever would follow had no effect on the image. Every convolution is
    StyleGAN2's layer (modulated, demodulated, noise, bias, leaky ReLU) with a w of its own.
    """

    def __init__(self, cfg: SqueezeConfig, spec: BlockSpec) -> None:
        super().__init__(spec)
        self.rgb = cfg.rgb
        c, f = spec.out_channels, max(spec.out_channels // cfg.ratio, 1)
        has_squeeze = not spec.is_last or cfg.rgb != 'pre'
        has_excite = not spec.is_last or cfg.rgb == 'excite'
        has_blend = not spec.is_last and cfg.blend
        layer = {'w_dim': cfg.w_dim, 'resolution': spec.resolution, 'conv_clamp': cfg.conv_clamp}

        self.conv0 = None
        if spec.in_channels > 0:
            self.conv0 = SynthesisLayer(spec.in_channels, c, up=2, **layer)
        elif cfg.b4 == 'conv':
            self.conv0 = SynthesisLayer(c, c, **layer)
        self.squeeze = SynthesisLayer(c, f, **layer) if has_squeeze else None
        self.excite = SynthesisLayer(f, c, **layer) if has_excite else None
        self.blend = SynthesisLayer(2 * c, c, kernel_size=1, **layer) if has_blend else None
        rgb_channels = f if cfg.rgb == 'squeeze' else c
        self.torgb = ToRGB(rgb_channels, spec.img_channels, w_dim=cfg.w_dim, conv_clamp=cfg.conv_clamp)
        self.num_conv = sum(layer is not None for layer in (self.conv0, self.squeeze, self.excite, self.blend))
        self.num_torgb = 1

    def forward(
        self, x: torch.Tensor | None, img: torch.Tensor | None, ws: list[torch.Tensor], noise_mode: NoiseMode
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        w = iter(ws)

        def apply(layer: SynthesisLayer | None, features: torch.Tensor | None) -> torch.Tensor | None:
            return None if layer is None else layer(features, next(w), noise_mode)

        x = self.start(x, ws[0].shape[0])
        f_i = x if self.conv0 is None else apply(self.conv0, x)  # [N, C, H, W]
        f_s = apply(self.squeeze, f_i)  # [N, F, H, W]
        f_e = apply(self.excite, f_s)  # [N, C, H, W]
        f_o = f_e if self.blend is None else apply(self.blend, torch.cat([f_i, f_e], dim=1))  # [N, C, H, W]
        f_rgb = {'squeeze': f_s, 'pre': f_i, 'excite': f_e}[self.rgb]
        return f_o, self.draw(img, self.torgb(f_rgb, next(w)))


def make_block(cfg: SqueezeConfig, spec: BlockSpec) -> SynthesisBlockBase:
    """StyleGAN2's own block at 4x4 where the config says so, else the squeeze block."""
    if spec.in_channels == 0 and cfg.b4 == 'plain':
        return SynthesisBlock(cfg, spec)
    return SqueezeBlock(cfg, spec)


class SqueezeGenerator(StyleGAN2Generator):
    """StyleGAN2's generator with squeeze blocks; mapping, truncation and style mixing are StyleGAN2's."""

    make_block = make_block
