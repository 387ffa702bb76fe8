"""StyleGAN2's discriminator from image to logit, with one block per resolution.

Letters: N batch, C channels, H and W height and width, F features of the minibatch standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import torch

from dnnlib.errors import ConfigError
from torch_utils.ops.minibatch_std import append_minibatch_std
from torch_utils.ops.upfirdn2d import downsample2d, setup_filter
from training.interface import ImageSpec
from training.networks.config import StyleGAN2DiscriminatorConfig, channels_at, is_lowered, resolutions
from training.networks.layers import FIR_TAPS, RESNET_GAIN, Conv2d, FullyConnected, LowerableBlock
from training.networks.lowering import Request, prepared
from training.networks.mapping import MappingNetwork
from training.registry import register_discriminator


class DiscriminatorBlock(LowerableBlock):
    """Block of one resolution: features [N, I, H, W] and image [N, C, H, W] -> both of half the size.

    Args:
        cfg: the discriminator's config.
        in_channels: I, 0 for the first block, which reads only the image.
        mid_channels: channels after the first convolution.
        out_channels: channels of the result.
        img_channels: C.
        lowered: whether the block computes in the run's lower precision.
        trainable: one flag per layer, consumed in the order of construction.
    """

    resample_filter: torch.Tensor

    def __init__(
        self,
        cfg: StyleGAN2DiscriminatorConfig,
        *,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        img_channels: int,
        lowered: bool,
        trainable: Iterator[bool],
    ) -> None:
        super().__init__(lowered)
        self.architecture = cfg.architecture
        self.register_buffer('resample_filter', setup_filter(FIR_TAPS))
        layer = partial(Conv2d, conv_clamp=cfg.conv_clamp)
        self.has_fromrgb = in_channels == 0 or cfg.architecture == 'skip'
        if self.has_fromrgb:
            self.fromrgb = layer(img_channels, mid_channels, 1, trainable=next(trainable))
        self.conv0 = layer(mid_channels, mid_channels, 3, trainable=next(trainable))
        self.conv1 = layer(mid_channels, out_channels, 3, down=2, trainable=next(trainable))
        if cfg.architecture == 'resnet':
            self.skip = Conv2d(
                mid_channels, out_channels, 1, act='linear', bias=False, down=2, trainable=next(trainable)
            )

    def requests(self) -> Iterator[Request]:
        """Yields the weights to prepare."""
        gain = RESNET_GAIN if self.architecture == 'resnet' else 1
        if self.has_fromrgb:
            yield from self.fromrgb.requests(self.dtype)
        yield from self.conv0.requests(self.dtype)
        yield from self.conv1.requests(self.dtype, gain)
        if self.architecture == 'resnet':
            yield from self.skip.requests(self.dtype, gain)

    def forward(self, x: torch.Tensor | None, img: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [] if x is None else [self.lower(x)]
        if self.has_fromrgb:
            parts.append(self.fromrgb(self.lower(img)))
        x = sum(parts[1:], start=parts[0])  # [N, I, H, W]
        if self.architecture == 'skip':
            img = downsample2d(img, self.resample_filter)
        if self.architecture != 'resnet':
            return self.conv1.after(self.conv0, x), img
        x, skip = self.skip.branch(x, gain=RESNET_GAIN)
        return skip + self.conv1.after(self.conv0, x, gain=RESNET_GAIN), img


class DiscriminatorEpilogue(torch.nn.Module):
    """Last layers, from features (and image, in 'skip') at the base to [N, out_features]; always float32."""

    def __init__(
        self,
        cfg: StyleGAN2DiscriminatorConfig,
        *,
        in_channels: int,
        img_channels: int,
        out_features: int,
        size: tuple[int, int],
    ) -> None:
        super().__init__()
        if in_channels % max(cfg.mbstd_channels, 1):
            raise ConfigError(f'mbstd_channels={cfg.mbstd_channels}: must divide the {in_channels} channels at 4x4')
        self.mbstd_group, self.mbstd_channels = cfg.mbstd_group, cfg.mbstd_channels
        self.has_fromrgb = cfg.architecture == 'skip'
        if self.has_fromrgb:
            self.fromrgb = Conv2d(img_channels, in_channels, 1)
        self.conv = Conv2d(in_channels + cfg.mbstd_channels, in_channels, 3, conv_clamp=cfg.conv_clamp)
        self.fc = FullyConnected(in_channels * size[0] * size[1], in_channels, act='lrelu')
        self.out = FullyConnected(in_channels, out_features)

    def requests(self) -> Iterator[Request]:
        """Yields the weights to prepare."""
        if self.has_fromrgb:
            yield from self.fromrgb.requests(torch.float32)
        yield from self.conv.requests(torch.float32)
        yield from self.fc.requests()
        yield from self.out.requests()

    def forward(self, x: torch.Tensor, img: torch.Tensor) -> torch.Tensor:
        x = x.float()  # [N, C, H, W]
        if self.has_fromrgb:
            x = x + self.fromrgb(img)
        if self.mbstd_channels > 0:
            x = append_minibatch_std(x, self.mbstd_group, self.mbstd_channels)  # [N, C + F, H, W]
        x = self.conv(x)
        return self.out(self.fc(x.flatten(1)))  # [N, out_features]


@register_discriminator('stylegan2', config=StyleGAN2DiscriminatorConfig)
class StyleGAN2Discriminator(torch.nn.Module):
    """Discriminator: image [N, C, H, W] and label [N, c_dim] -> logits [N, 1] float32; larger means more real.

    With labels, the logit is the projection of features on mapped labels (Miyato and Koyama 2018, with a mapping
    network).
    """

    def __init__(self, config: StyleGAN2DiscriminatorConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.c_dim, self.img_resolution, self.img_channels = spec.label_dim, spec.resolution, spec.channels
        self.resolutions = resolutions(spec)[:0:-1]  # all except 4, the highest first
        trainable = self._trainable(config)
        self.channels = {res: channels_at(config, res) for res in resolutions(spec)}
        in_channels = 0
        for res in self.resolutions:
            mid_channels, out_channels = self.channels[res], self.channels[res // 2]
            block = DiscriminatorBlock(
                config,
                in_channels=in_channels,
                mid_channels=mid_channels,
                out_channels=out_channels,
                img_channels=spec.channels,
                lowered=is_lowered(config, spec, res),
                trainable=trainable,
            )
            setattr(self, f'b{res}', block)
            in_channels = out_channels
        self.cmap_dim = (config.cmap_dim or in_channels) if self.c_dim > 0 else 0
        if self.c_dim > 0:
            self.mapping = MappingNetwork(
                z_dim=0,
                c_dim=self.c_dim,
                w_dim=self.cmap_dim,
                num_ws=None,
                num_layers=config.map_depth,
                lr_multiplier=config.map_lr_multiplier,
            )
        self.b4 = DiscriminatorEpilogue(
            config,
            in_channels=in_channels,
            img_channels=spec.channels,
            out_features=self.cmap_dim or 1,
            size=spec.size_at(4),
        )

    def _trainable(self, config: StyleGAN2DiscriminatorConfig) -> Iterator[bool]:
        """Yields whether each layer of the blocks trains, in the order of construction."""
        blocks = len(self.resolutions)
        total = {'orig': 2 * blocks + 1, 'skip': 3 * blocks, 'resnet': 3 * blocks + 1}[config.architecture]
        if config.freezed > total:
            raise ConfigError(f'freezed={config.freezed}: the blocks of this discriminator have {total} layers')
        return (i >= config.freezed for i in range(total))

    def forward(self, img: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        """Returns the logits. img: float32, any memory format. c: ignored if c_dim is 0."""
        img = img.to(dtype=torch.float32, memory_format=torch.channels_last)
        x = None
        blocks = [getattr(self, f'b{res}') for res in self.resolutions]
        with prepared(request for block in (*blocks, self.b4) for request in block.requests()):
            for block in blocks:
                x, img = block(x, img)
            x = self.b4(x, img)  # [N, 1], or [N, cmap_dim] with labels
        if self.c_dim == 0:
            return x
        cmap = self.mapping(None, c)  # [N, cmap_dim]
        return (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)  # [N, 1]

    def feature_blocks(self) -> dict[int, torch.nn.Module]:
        """Returns the blocks by the resolution of their output, see `interface.FeatureNetwork`."""
        return {res // 2: getattr(self, f'b{res}') for res in self.resolutions}

    def feature_channels(self) -> dict[int, int]:
        """Returns the channels of these outputs, see `interface.FeatureNetwork`."""
        return {res // 2: self.channels[res // 2] for res in self.resolutions}
