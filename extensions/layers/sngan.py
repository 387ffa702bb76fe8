"""Residual discriminator with spectral normalization, of SNGAN (Miyato et al. 2018) and projection GANs.

Miyato and Koyama, cGANs with Projection Discriminator, ICLR 2018. Widths and depths: Park and Shin, arXiv 2111.15171,
Table 2.

Letters: N batch, C image channels, I and O input and output channels of a block, H and W height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from extensions.layers.gconv import xavier_
from extensions.layers.preparation import Preparation
from extensions.layers.spectral_norm import Conv2d, Linear
from torch_utils.ops.folded_conv import down_conv2d
from training.config import require
from training.interface import ImageSpec
from training.networks.layers import LowerableBlock
from training.registry import register_discriminator


@dataclass(frozen=True, kw_only=True, slots=True)
class SNGANDiscriminatorConfig:
    """One block per resolution R, from the images' down to 4, with channel_base / R channels, at most channel_max.

    Table 2 has channel_max 128 and num_plain 2 at 32x32, and the defaults at 128x128 and 256x256.
    """

    channel_base: int = 8192  # the block with input at resolution R has channel_base / R channels ...
    channel_max: int = 512  # ... but no more than this
    num_plain: int = 1  # number of last blocks, which keep the resolution
    sn: bool = True  # spectral normalization of every layer
    num_fp16_res: int = 4  # number of highest resolutions computed in the run's lower precision

    def __post_init__(self) -> None:
        for name in ('channel_base', 'channel_max'):
            require(getattr(self, name) >= 1, name, getattr(self, name), 'must be at least 1')
        for name in ('num_plain', 'num_fp16_res'):
            require(getattr(self, name) >= 0, name, getattr(self, name), 'must be non-negative')


class DiscriminatorBlock(LowerableBlock):
    """Residual block of Table 2: ReLU, 3x3, ReLU, 3x3, average pooling if `down`, and the shortcut.

    The shortcut is the identity, or average pooling and a 1x1 convolution if size or channels change. The first block
    has no ReLU at its input, as in SNGAN, since a ReLU would remove half of an image's range. Table 2 does not
    distinguish it.

    Args:
        in_channels: I.
        out_channels: O.
        down: whether the block halves height and width.
        is_first: whether the input is an image.
        sn: whether weights are spectrally normalized.
        lowered: whether the block computes in the run's lower precision.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, down: bool, is_first: bool, sn: bool, lowered: bool
    ) -> None:
        super().__init__(lowered)
        self.down = down
        self.is_first = is_first
        self.conv0 = Conv2d(in_channels, out_channels, 3, padding=1, sn=sn)
        self.conv1 = Conv2d(out_channels, out_channels, 3, padding=1, sn=sn)
        has_skip = down or in_channels != out_channels
        self.skip = Conv2d(in_channels, out_channels, 1, sn=sn) if has_skip else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lower(x)
        h = F.relu(self.conv0(x if self.is_first else F.relu(x)))  # [N, O, H, W]
        if not self.down:
            h = self.conv1(h)
        else:
            h = down_conv2d(h, *self.conv1.cast_parameters(h.dtype))  # [N, O, H/2, W/2]
            x = F.avg_pool2d(x, 2)  # precedes the 1x1 convolution, with which it commutes
        return h + (x if self.skip is None else self.skip(x))


@register_discriminator('sngan', config=SNGANDiscriminatorConfig)
class SNGANDiscriminator(torch.nn.Module):
    """Discriminator: image [N, C, H, W] and label [N, c_dim] -> logits [N, 1] float32; larger means more real.

    Blocks, ReLU, sum over pixels, linear layer; with labels plus the projection <features, V y> (Miyato and Koyama).
    """

    def __init__(self, config: SNGANDiscriminatorConfig, spec: ImageSpec) -> None:
        super().__init__()
        res = spec.resolution
        self.c_dim, self.img_resolution, self.img_channels = spec.label_dim, res, spec.channels
        if res < 8 or res & (res - 1):
            raise ConfigError(f"resolution={res}: SNGAN's discriminator needs a power of two, at least 8")
        num_blocks = res.bit_length() - 2
        require(config.num_plain <= num_blocks, 'num_plain', config.num_plain, f'at {res}x{res} at most {num_blocks}')
        require(config.channel_base >= res, 'channel_base', config.channel_base, f'at {res}x{res} at least {res}')
        blocks = []
        in_channels = spec.channels
        for i in range(num_blocks):
            out_channels = min(config.channel_base >> (res.bit_length() - 1 - i), config.channel_max)
            blocks.append(
                DiscriminatorBlock(
                    in_channels,
                    out_channels,
                    down=i < num_blocks - config.num_plain,
                    is_first=i == 0,
                    sn=config.sn,
                    lowered=i < min(config.num_fp16_res, num_blocks - 1),
                )
            )
            in_channels = out_channels
        self.blocks = torch.nn.Sequential(*blocks)
        self.out = Linear(in_channels, 1, sn=config.sn)
        self.embed = Linear(self.c_dim, in_channels, bias=False, sn=config.sn) if self.c_dim > 0 else None
        xavier_(self)
        self.preparation = Preparation(self)

    def forward(self, img: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        """Returns the logits. img: float32, any memory format. c: ignored if c_dim is 0."""
        with self.preparation():
            return self._logits(img, c)

    def _logits(self, img: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        x = F.relu(self.blocks(img)).float().sum([2, 3])  # [N, O]
        logits = self.out(x)  # [N, 1]
        if self.embed is None:
            return logits
        assert c is not None, f'labels [N, {self.c_dim}] are needed, got None'
        return logits + (x * self.embed(c)).sum(dim=1, keepdim=True)
