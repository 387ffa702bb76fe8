"""DCGAN-shaped pair of networks: 4x4 convolutions, with twice the size and half the channels at every stage.

Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional GANs". A stage is named by the
resolution r of its features: 4, 8, ... R / 2 in images of resolution R. It has clip(channel_base / r, channel_min,
channel_max) channels. The first convolution of G maps one pixel to the images' base and the last of D maps it back, so
that their kernels have its size. Architectures derive from the two networks and add modules after the stages.

BN statistics, also in derived networks, are those of one micro-batch: --batch-gpu changes the results.

Letters: N batch, I and O input and output channels, C those of the image, V width of the input vector, H and W height
and width of the image, R its resolution, r that of a stage, h and w height and width of its features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from dnnlib.errors import ConfigError
from extensions.layers.batch_norm import BatchNorm2d, normalized
from extensions.layers.latent import LatentGenerator, Projection
from extensions.layers.preparation import Preparation
from extensions.layers.spectral_norm import Conv2d, ConvTranspose2d
from training.config import require
from training.interface import ImageSpec
from training.networks.config import is_lowered
from training.networks.layers import LowerableBlock
from training.registry import register_discriminator, register_generator


@dataclass(frozen=True, kw_only=True, slots=True)
class DCGANGeneratorConfig:
    """Generator. The defaults are those of the GIU-GANs backbone at 32x32."""

    z_dim: int = 128  # width of the latent z
    channel_base: int = 1024  # the stage at resolution r has channel_base / r channels ...
    channel_max: int = 512  # ... but no more than this ...
    channel_min: int = 64  # ... and no fewer than this
    act: Literal['relu', 'lrelu'] = 'relu'
    slope: float = 0.1  # slope of leaky ReLU
    bias: bool = True  # bias of every convolution; without effect before BN, yet counted by papers
    sn: bool = True  # spectral norm of every convolution except the last
    sn_last: bool = False  # spectral norm of the last convolution
    extra: tuple[int, ...] = ()  # stages with a further 3x3 convolution, BN and activation
    init_std: float | None = None  # initial weights are N(0, init_std^2); None: PyTorch's initialization
    num_fp16_res: int = 4  # number of highest resolutions computed in the run's lower precision

    def __post_init__(self) -> None:
        require(self.z_dim >= 1, 'z_dim', self.z_dim, 'must be at least 1')
        require(self.act in ('relu', 'lrelu'), 'act', self.act, 'one of relu, lrelu')
        check_stages(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class DCGANDiscriminatorConfig:
    """Discriminator. Fields that share a name with the generator's have the same meaning."""

    channel_base: int = 1024
    channel_max: int = 512
    channel_min: int = 64
    norm: Literal['none', 'bn'] = 'none'  # normalization of every stage except the first
    slope: float = 0.1
    bias: bool = True
    sn: bool = True
    sn_last: bool = False
    extra: tuple[int, ...] = ()
    init_std: float | None = None
    num_fp16_res: int = 4

    def __post_init__(self) -> None:
        require(self.norm in ('none', 'bn'), 'norm', self.norm, 'one of none, bn')
        check_stages(self)


StagesConfig = DCGANGeneratorConfig | DCGANDiscriminatorConfig


def check_stages(cfg: StagesConfig) -> None:
    """Raises ConfigError if a field shared by G and D is out of range."""
    for name in ('channel_base', 'channel_max', 'channel_min'):
        require(getattr(cfg, name) >= 1, name, getattr(cfg, name), 'must be at least 1')
    require(
        cfg.channel_min <= cfg.channel_max, 'channel_min', cfg.channel_min, f'at most channel_max={cfg.channel_max}'
    )
    require(cfg.num_fp16_res >= 0, 'num_fp16_res', cfg.num_fp16_res, 'must be non-negative')
    require(cfg.init_std is None or cfg.init_std > 0, 'init_std', cfg.init_std, 'must be positive, or none')


def width(cfg: StagesConfig, resolution: int) -> int:
    """Returns the channels of the stage at `resolution`."""
    return min(max(cfg.channel_base // resolution, cfg.channel_min), cfg.channel_max)


def stages(cfg: StagesConfig, spec: ImageSpec) -> list[int]:
    """Returns 4, 8, ... R / 2. ConfigError unless R is a power of two, at least 16, and has the stages of `extra`."""
    res = spec.resolution
    if res < 16 or res & (res - 1):
        raise ConfigError(f'resolution={res}: must be a power of two, at least 16; convert with dataset_tool.py')
    found = [2**i for i in range(2, res.bit_length() - 1)]
    unknown = sorted(set(cfg.extra) - set(found))
    require(not unknown, 'extra', unknown, f'at {res}x{res} the stages are {found}')
    return found


class ConvLayer(torch.nn.Module):
    """act(norm(conv(x))), [N, I, H, W] -> [N, O, H', W']."""

    def __init__(self, conv: torch.nn.Module, norm: torch.nn.Module | None, act: torch.nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.act = conv, norm, act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.act(x if self.norm is None else normalized(self.norm, x))


class Stage(LowerableBlock):
    """Stage of one resolution: the resampling convolution, an optional further one, and an optional module."""

    def __init__(
        self, layer: ConvLayer, *, extra: ConvLayer | None, tail: torch.nn.Module | None, lowered: bool
    ) -> None:
        super().__init__(lowered)
        self.layer, self.extra, self.tail = layer, extra, tail

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(self.lower(x))  # [N, O, h, w]
        x = x if self.extra is None else self.extra(x)  # [N, O, h, w]
        return x if self.tail is None else self.tail(x)  # [N, O, h, w]


@register_generator('dcgan', config=DCGANGeneratorConfig)
class DCGANGenerator(LatentGenerator):
    """Generator: z [N, z_dim] and c [N, c_dim] -> image [N, C, H, W] float32 in (-1, 1)."""

    def __init__(self, config: DCGANGeneratorConfig, spec: ImageSpec) -> None:
        super().__init__(config.z_dim, spec)
        self.stages = stages(config, spec)
        in_channels = self.v_dim
        for res in self.stages:
            setattr(self, f'b{res}', self._stage(config, spec, res, in_channels))
            in_channels = width(config, res)
        self.last = ConvTranspose2d(
            in_channels, spec.channels, 4, stride=2, padding=1, bias=config.bias, sn=config.sn_last
        )
        initialize(self, config.init_std)
        self.preparation = Preparation(self)

    def _stage(self, cfg: DCGANGeneratorConfig, spec: ImageSpec, res: int, in_channels: int) -> Stage:
        c = width(cfg, res)
        kernel, stride, padding = (spec.size_at(4), 1, 0) if res == 4 else (4, 2, 1)
        conv = ConvTranspose2d(in_channels, c, kernel, stride=stride, padding=padding, bias=cfg.bias, sn=cfg.sn)
        extra = None
        if res in cfg.extra:
            same = Conv2d(c, c, 3, padding=1, bias=cfg.bias, sn=cfg.sn)
            extra = ConvLayer(same, BatchNorm2d(c), make_act(cfg))
        return Stage(
            ConvLayer(conv, self.make_norm(cfg, res), make_act(cfg)),
            extra=extra,
            tail=self.make_tail(cfg, res),
            lowered=is_lowered(cfg, spec, res),
        )

    def make_norm(self, cfg: Any, res: int) -> torch.nn.Module:
        """Returns the normalization of the stage at `res`; derived networks override it."""
        return BatchNorm2d(width(cfg, res))

    def make_tail(self, cfg: Any, res: int) -> torch.nn.Module | None:
        """Returns a module after the stage at `res`, [N, O, h, w] -> same shape, or None."""
        return None

    def forward(
        self, z: torch.Tensor, c: torch.Tensor, *, truncation_psi: float = 1, noise_mode: str = 'random'
    ) -> torch.Tensor:
        """Returns the image; `LatentGenerator.vector` has the arguments and errors."""
        x = self.vector(z, c, truncation_psi, noise_mode)[:, :, None, None]  # [N, V, 1, 1]
        with self.preparation():
            for res in self.stages:
                x = getattr(self, f'b{res}')(x)  # [N, O, h, w]
            return torch.tanh(self.last(x.to(self.last.weight.dtype)))  # [N, C, H, W]


@register_discriminator('dcgan', config=DCGANDiscriminatorConfig)
class DCGANDiscriminator(torch.nn.Module):
    """Discriminator: image [N, C, H, W] and label [N, c_dim] -> logits [N, 1] float32, with a projection of labels."""

    def __init__(self, config: DCGANDiscriminatorConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.c_dim, self.img_resolution, self.img_channels = spec.label_dim, spec.resolution, spec.channels
        self.stages = stages(config, spec)[::-1]  # the highest first
        in_channels = spec.channels
        for res in self.stages:
            setattr(self, f'b{res}', self._stage(config, spec, res, in_channels))
            in_channels = width(config, res)
        base = spec.size_at(4)
        self.last = Conv2d(in_channels, 1, base, bias=config.bias, sn=config.sn_last)
        self.project = None
        if self.c_dim:
            self.project = Projection(self.c_dim, in_channels, pixels=base[0] * base[1], sn=config.sn_last)
        initialize(self, config.init_std)
        self.preparation = Preparation(self)

    def _stage(self, cfg: DCGANDiscriminatorConfig, spec: ImageSpec, res: int, in_channels: int) -> Stage:
        c = width(cfg, res)

        def layer(conv: Conv2d, has_norm: bool) -> ConvLayer:
            norm = BatchNorm2d(c) if has_norm and cfg.norm == 'bn' else None
            return ConvLayer(conv, norm, torch.nn.LeakyReLU(cfg.slope))

        down = Conv2d(in_channels, c, 4, stride=2, padding=1, bias=cfg.bias, sn=cfg.sn)
        extra = None
        if res in cfg.extra:
            extra = layer(Conv2d(c, c, 3, padding=1, bias=cfg.bias, sn=cfg.sn), has_norm=True)
        return Stage(
            layer(down, has_norm=res != self.stages[0]),
            extra=extra,
            tail=self.make_tail(cfg, res),
            lowered=is_lowered(cfg, spec, res),
        )

    def make_tail(self, cfg: Any, res: int) -> torch.nn.Module | None:
        """Returns a module after the stage at `res`, [N, O, h, w] -> same shape, or None."""
        return None

    def forward(self, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        h = img  # [N, C, H, W]
        with self.preparation():
            for res in self.stages:
                h = getattr(self, f'b{res}')(h)  # [N, O, h, w]
            h = h.to(self.last.weight.dtype)  # [N, O, h, w] of the base
            logits = self.last(h).flatten(1)  # [N, 1]
            return logits if self.project is None else logits + self.project(h, c)


def make_act(cfg: DCGANGeneratorConfig) -> torch.nn.Module:
    """Returns the generator's activation."""
    return torch.nn.ReLU() if cfg.act == 'relu' else torch.nn.LeakyReLU(cfg.slope)


def initialize(net: torch.nn.Module, std: float | None) -> None:
    """Draws the weights of every convolution from N(0, std^2), unless `std` is None."""
    if std is None:
        return
    for module in net.modules():
        if isinstance(module, (Conv2d, ConvTranspose2d)):
            torch.nn.init.normal_(module.weight, std=std)
