"""IGAN: Inception modules with a dilated branch in both networks of a convolutional GAN.

Hashim et al., arXiv 2601.08332, read through a summary. No widths, counts, learning rates or code are published, so
that every number without a citation is this project's choice, and the plan is a reading: a dense layer from z to 4x4
(or another base of the images), convolutions up to the first module, one module each at 16x16 and 32x32, convolutions
up to the image; the discriminator mirrors it. The modules' positions follow from "two resolutions" and "up-sampling
between modules", which 8x8 and 16x16 would fit as well. Their width follows from the summary's only example: at 16x16,
four branches of 64 from 128 channels.

Batch normalization after a spectrally normalized convolution removes the scale set by the latter; this is the paper's
combination. There, `sn` acts only through BN's eps. It bounds the layers without BN: D's first and last layer, and all
of D with norm='none'.

Letters: N batch, I and O input and output channels, H and W height and width, w width of a branch.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F

from extensions.layers.batch_norm import BatchNorm2d, normalized
from extensions.layers.latent import LatentGenerator, Projection
from extensions.layers.preparation import Preparation
from extensions.layers.spectral_norm import Conv2d, Linear
from training.config import EmaConfig, LossConfig, OptimizerConfig, PathLengthConfig, R1Config, RunConfig, require
from training.data.shapes import images_at_once
from training.interface import ImageSpec
from training.networks.layers import LowerableBlock
from training.registry import register_discriminator, register_generator, register_recipe

PAPER = 'Hashim et al., IGAN: A New Inception-based Model, arXiv 2601.08332'


@dataclass(frozen=True, kw_only=True, slots=True)
class InceptionConfig:
    """Options of the two modules of a network and of the layers around them."""

    module_res: tuple[int, ...] = (16, 32)  # resolutions of the modules, the lower first
    widths: tuple[int, ...] = (64, 32)  # w of these modules
    branches: Literal['135p', '135', '13p', '13'] = '135p'  # 1x1, 3x3, 5x5, and the average pool
    dilation: Literal[2, 1] = 2  # dilation of the 5x5 convolution, which spans 9 or 5 pixels
    reduce: int = 1  # ratio of w to the width of the 1x1 convolutions before 3x3 and 5x5
    channel_max: int = 256  # channels at 4x4 (the paper: 4096 = 256 4 4 features), in D from the modules on
    stem: int = 128  # channels of the convolutions before the modules
    sn: bool = True  # spectral norm of every layer in D; in G ("select layers") of the convolutions outside modules
    dropout: float = 0.0  # after each module; the abstract has it in both networks, the layers' tables in D only

    def __post_init__(self) -> None:
        res, widths = self.module_res, self.widths
        ok = len(res) == 2 and 4 <= res[0] < res[1] and not any(r & (r - 1) for r in res)
        require(ok, 'module_res', res, 'must be two increasing powers of two, at least 4')
        require(len(widths) == 2 and min(widths) >= 1, 'widths', widths, 'must be two numbers, each at least 1')
        require(self.branches in ('135p', '135', '13p', '13'), 'branches', self.branches, 'one of 135p, 135, 13p, 13')
        require(self.dilation in (1, 2), 'dilation', self.dilation, '1 or 2')
        for name in ('reduce', 'channel_max', 'stem'):
            require(getattr(self, name) >= 1, name, getattr(self, name), 'must be at least 1')
        require(0 <= self.dropout < 1, 'dropout', self.dropout, 'must lie in [0, 1)')
        require(not any(w % self.reduce for w in widths), 'reduce', self.reduce, f'must divide both widths, {widths}')


@dataclass(frozen=True, kw_only=True, slots=True)
class IganGeneratorConfig(InceptionConfig):
    """Generator: labels enter as an embedding concatenated with z."""

    z_dim: int = 100  # width of the latent z
    tail: int = 64  # channels of the convolutions after the modules
    up: Literal['nearest', 'bilinear'] = 'nearest'  # upsampling

    def __post_init__(self) -> None:
        InceptionConfig.__post_init__(self)  # no super(): it fails in a dataclass with slots
        for name in ('z_dim', 'tail'):
            require(getattr(self, name) >= 1, name, getattr(self, name), 'must be at least 1')
        require(self.up in ('nearest', 'bilinear'), 'up', self.up, 'one of nearest, bilinear')


@dataclass(frozen=True, kw_only=True, slots=True)
class IganDiscriminatorConfig(InceptionConfig):
    """Discriminator: labels enter as a projection of the map at 4x4.

    With norm='bn', a logit depends on the other images of its micro-batch, so that the gradient penalties (r1, r2, gp),
    defined by the gradient of a logit with respect to its own image, mix samples; the recipe uses none. Use norm='none'
    with a penalty or with adaptive augmentation, and dropout=0 with a penalty, since dropout would apply it to random
    subnetworks.
    """

    stem: int = 64
    down: Literal['pool', 'conv'] = 'pool'  # downsampling between the modules: average pool, or stride 2
    norm: Literal['bn', 'none'] = 'bn'  # normalization of every layer except the first and the last
    dropout: float = 0.3

    def __post_init__(self) -> None:
        InceptionConfig.__post_init__(self)
        require(self.down in ('pool', 'conv'), 'down', self.down, 'one of pool, conv')
        require(self.norm in ('bn', 'none'), 'norm', self.norm, 'one of bn, none')


class ConvNorm(torch.nn.Module):
    """act(norm(conv(x))), [N, I, H, W] -> [N, O, H / stride, W / stride], with 'same' padding.

    Args:
        in_channels: I.
        out_channels: O.
        kernel_size: odd side of the kernel.
        slope: slope of the leaky ReLU.
        norm: whether there is batch normalization, in float32; it replaces the bias, which it would cancel.
        sn: whether the weight is spectrally normalized.
        stride: stride of the convolution.
        dilation: dilation of the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        slope: float,
        norm: bool = True,
        sn: bool = False,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        conv = partial(Conv2d, stride=stride, padding=dilation * (kernel_size // 2), dilation=dilation)
        self.conv = conv(in_channels, out_channels, kernel_size, bias=not norm, sn=sn)
        self.norm = BatchNorm2d(out_channels) if norm else None
        self.slope = slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.finish(self.conv(x))

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        """Returns act(norm(x)) for the convolution's result x."""
        x = x if self.norm is None else normalized(self.norm, x)
        return F.leaky_relu_(x, self.slope)


class Inception(torch.nn.Module):
    """Inception module: 1x1 | 1x1, 3x3 | 1x1, 5x5 dilated | average pool, 1x1; [N, I, H, W] -> [N, O, H, W].

    O is w times the number of branches. The average is over 3x3 pixels, fewer at the border (Keras's 'same'). Dropout
    draws from torch's global generator in training mode.

    Args:
        cfg: the modules' options.
        in_channels: I.
        resolution: resolution of the module, one of `cfg.module_res`.
        layer: constructor of the convolutions.
    """

    def __init__(self, cfg: InceptionConfig, in_channels: int, resolution: int, layer: partial[ConvNorm]) -> None:
        super().__init__()
        width = cfg.widths[cfg.module_res.index(resolution)]
        narrow = width // cfg.reduce
        self.dropout = cfg.dropout
        self.out_channels = width * len(cfg.branches)
        self.conv1 = layer(in_channels, width, 1)
        self.conv3 = torch.nn.Sequential(layer(in_channels, narrow, 1), layer(narrow, width, 3))
        self.conv5 = None
        if '5' in cfg.branches:
            wide = layer(narrow, width, 5, dilation=cfg.dilation)
            self.conv5 = torch.nn.Sequential(layer(in_channels, narrow, 1), wide)
        self.pool = layer(in_channels, width, 1) if 'p' in cfg.branches else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.conv1(x), self.conv3(x)]  # [N, w, H, W] each
        if self.conv5 is not None:
            parts.append(self.conv5(x))
        if self.pool is not None:
            # A 1x1 convolution, with or without bias, commutes with an average: pool its w channels, not x's I.
            y = F.avg_pool2d(self.pool.conv(x), 3, stride=1, padding=1, count_include_pad=False)
            parts.append(self.pool.finish(y))
        return F.dropout(torch.cat(parts, dim=1), self.dropout, self.training)


class Trunk(LowerableBlock):
    """Sequence of named layers in the block's precision, [N, I, H, W] -> [N, O, H', W'] float32."""

    def __init__(self, layers: dict[str, torch.nn.Module]) -> None:
        super().__init__(lowered=True)
        self.layers = torch.nn.Sequential(OrderedDict(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(self.lower(x)).float()


@register_generator('igan', config=IganGeneratorConfig)
class IganGenerator(LatentGenerator):
    """Generator: z [N, z_dim] and label [N, c_dim] -> image [N, C, H, W] float32 in [-1, 1]."""

    def __init__(self, config: IganGeneratorConfig, spec: ImageSpec) -> None:
        super().__init__(config.z_dim, spec)
        self.base = spec.size_at(4)
        self.fc = torch.nn.Linear(self.v_dim, config.channel_max * self.base[0] * self.base[1], bias=False)
        self.norm = BatchNorm2d(config.channel_max)
        self.trunk = Trunk(self._layers(config, _resolutions(spec, config, spec.resolution)))
        self.preparation = Preparation(self)

    def _layers(self, cfg: IganGeneratorConfig, resolutions: list[int]) -> dict[str, torch.nn.Module]:
        """Returns the layers from 4x4 to the image, named by their output resolution."""
        first, last = cfg.module_res
        layer = partial(ConvNorm, slope=0)
        layers: dict[str, torch.nn.Module] = {}
        channels = cfg.channel_max
        for res in resolutions:
            if res > 4:
                layers[f'up{res}'] = torch.nn.Upsample(scale_factor=2, mode=cfg.up)
            if res > 4 and not first < res <= last:  # no convolutions between the modules
                out_channels = cfg.stem if res <= first else cfg.tail
                layers[f'conv{res}'] = layer(channels, out_channels, 3, sn=cfg.sn)
                channels = out_channels
            if res in cfg.module_res:
                layers[f'inception{res}'] = module = Inception(cfg, channels, res, layer)
                channels = module.out_channels
        layers['out'] = Conv2d(channels, self.img_channels, 3, padding=1)
        return layers

    def forward(
        self, z: torch.Tensor, c: torch.Tensor | None, *, truncation_psi: float = 1, noise_mode: str = 'random'
    ) -> torch.Tensor:
        """Returns the image; `LatentGenerator.vector` has the arguments and errors."""
        x = self.fc(self.vector(z, c, truncation_psi, noise_mode))  # [N, channel_max H W] of the base
        x = x.reshape(z.shape[0], -1, *self.base)
        with self.preparation():
            return self.trunk(F.relu(normalized(self.norm, x))).tanh()  # [N, C, H, W]


@register_discriminator('igan', config=IganDiscriminatorConfig)
class IganDiscriminator(torch.nn.Module):
    """Discriminator: image [N, C, H, W] and label [N, c_dim] -> logits [N, 1] float32; the paper has their sigmoid."""

    def __init__(self, config: IganDiscriminatorConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.c_dim, self.img_resolution, self.img_channels = spec.label_dim, spec.resolution, spec.channels
        layers, channels = self._layers(config, _resolutions(spec, config, spec.resolution // 2))
        self.trunk = Trunk(layers)
        h, w = spec.size_at(4)
        self.fc = Linear(channels * h * w, 1, sn=config.sn)
        self.project = Projection(self.c_dim, channels, pixels=h * w, sn=config.sn) if self.c_dim else None
        self.preparation = Preparation(self)

    def _layers(self, cfg: IganDiscriminatorConfig, resolutions: list[int]) -> tuple[dict[str, torch.nn.Module], int]:
        """Returns the layers from the image to 4x4, named by their output resolution, and the channels at 4x4."""
        first, last = cfg.module_res
        layer = partial(ConvNorm, slope=0.2, sn=cfg.sn)
        layers: dict[str, torch.nn.Module] = {}
        channels, norm = self.img_channels, False
        for res in reversed(resolutions):
            between = first <= res < last
            if between and cfg.down == 'pool':
                layers[f'pool{res}'] = torch.nn.AvgPool2d(2)
            else:
                out_channels = channels if between else cfg.stem if res >= last else cfg.channel_max
                layers[f'conv{res}'] = layer(channels, out_channels, 3, stride=2, norm=norm)
                channels = out_channels
            norm = cfg.norm == 'bn'
            if res in cfg.module_res:
                layers[f'inception{res}'] = module = Inception(cfg, channels, res, partial(layer, norm=norm))
                channels = module.out_channels
        return layers, channels

    def forward(self, img: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        with self.preparation():
            x = self.trunk(img)  # [N, O, H, W] of the base
            logits = self.fc(x.flatten(1))  # [N, 1]
            return logits if self.project is None else logits + self.project(x, c)


def _resolutions(spec: ImageSpec, cfg: InceptionConfig, largest: int) -> list[int]:
    """Returns 4, 8, ... up to `largest`. ConfigError if the images or the modules do not fit."""
    res = spec.resolution
    require(res >= 32 and not res & (res - 1), 'resolution', res, 'must be a power of two, at least 32')
    require(cfg.module_res[1] <= largest, 'module_res', cfg.module_res, f'at most {largest} for {res}x{res} images')
    return [2**i for i in range(2, largest.bit_length())]


@register_recipe('igan', paper=PAPER, min_resolution=32)
def igan(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the config. 64x64 is the paper's size; the modules are at 16x16 and 32x32, at 8x8 and 16x16 for 32x32
    images.

    Every doubling of the resolution adds one convolution to each network. Learning rate, betas, batch and length (about
    500 epochs of CUB-200) are this project's choice. Above 256x256, a process handles as many images at a time as have
    the pixels of 64 at that size, at least 4, and the batch statistics are those of these images.
    """
    res = facts.resolution
    module_res = (8, 16) if res == 32 else (16, 32)
    adam = OptimizerConfig(lr=2e-4, beta1=0.5, beta2=0.999)
    return RunConfig(
        cfg='igan',
        generator=IganGeneratorConfig(module_res=module_res),
        discriminator=IganDiscriminatorConfig(module_res=module_res),
        # Combines sigmoid and cross-entropy: separately, they have no gradient in float32 at logits of 17 or more.
        loss=LossConfig(kind='cross_entropy'),
        r1=R1Config(gamma=0, interval=None),
        pl=PathLengthConfig(weight=0, interval=None),
        style_mixing_prob=0.0,
        g_opt=adam,
        d_opt=adam,
        ema=EmaConfig(kimg=0),
        gpus=num_gpus,
        batch=64,
        batch_gpu=min(images_at_once(64, 256, facts.pixels), 64 // num_gpus),
        kimg=6000,
    )
