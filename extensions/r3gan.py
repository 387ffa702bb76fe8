"""R3GAN, a modern baseline: mirrored residual networks without normalization, and a regularized relativistic loss.

Huang, Gokaslan, Kuleshov and Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline", NeurIPS 2024, arXiv
2501.05441. Rewritten from its equations and from published facts of its configurations; D's output is [N, 1] and the
number of image channels is that of the data, in place of [N] and 3.

Letters: N batch, C image channels, V width of the input vector, H and W height and width, E width of D's last stage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from dnnlib.errors import ConfigError
from extensions.layers.latent import LatentGenerator
from extensions.layers.r3gan import (
    DiscriminativeBasis,
    GenerativeBasis,
    Resample,
    ResidualBlock,
    Stage,
    conv,
    linear,
    normal_,
)
from training.config import (
    AugmentConfig,
    EmaConfig,
    LossConfig,
    OptimizerConfig,
    PathLengthConfig,
    R1Config,
    R2Config,
    RunConfig,
    ScheduleConfig,
    require,
)
from training.interface import ImageSpec
from training.networks.config import is_lowered
from training.registry import register_discriminator, register_generator, register_recipe

PAPER = 'Huang et al., The GAN is dead; long live the GAN! A Modern GAN Baseline, NeurIPS 2024'


@dataclass(frozen=True, kw_only=True, slots=True)
class StagesConfig:
    """Fields that G and D share. Tuples have one number per stage, from 4x4 up to the images' resolution."""

    widths: tuple[int, ...] = (768, 768, 768, 768)  # channels ...
    channel_max: int | None = None  # ... but no more than this; None: no limit
    num_blocks: tuple[int, ...] = (2, 2, 2, 2)  # residual blocks
    expansion: int = 2  # channels inside a block, as a multiple of its width
    group_channels: int = 16  # input channels of a group of the 3x3 convolutions
    num_fp16_res: int = 4  # number of highest resolutions computed in the run's lower precision

    def __post_init__(self) -> None:
        check_stages(self)

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels of every stage."""
        return tuple(width if self.channel_max is None else min(width, self.channel_max) for width in self.widths)


@dataclass(frozen=True, kw_only=True, slots=True)
class R3GANGeneratorConfig(StagesConfig):
    """Generator."""

    z_dim: int = 64  # width of the latent z

    def __post_init__(self) -> None:
        require(self.z_dim >= 1, 'z_dim', self.z_dim, 'must be at least 1')
        check_stages(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class R3GANDiscriminatorConfig(StagesConfig):
    """Discriminator."""


def check_stages(cfg: StagesConfig) -> None:
    """Raises ConfigError if a field is out of range."""
    for name in ('widths', 'num_blocks'):
        value = getattr(cfg, name)
        require(all(number >= 1 for number in value), name, value, 'every stage needs at least 1')
    for name in ('expansion', 'group_channels'):
        require(getattr(cfg, name) >= 1, name, getattr(cfg, name), 'must be at least 1')
    require(cfg.channel_max is None or cfg.channel_max >= 1, 'channel_max', cfg.channel_max, 'must be at least 1')
    require(cfg.num_fp16_res >= 0, 'num_fp16_res', cfg.num_fp16_res, 'must be non-negative')
    require(
        len(cfg.num_blocks) == len(cfg.widths), 'num_blocks', cfg.num_blocks, f'one number per stage: {len(cfg.widths)}'
    )
    for width in cfg.channels:
        inner = width * cfg.expansion
        require(
            inner % cfg.group_channels == 0,
            'group_channels',
            cfg.group_channels,
            f'must divide the {inner} channels inside the blocks of width {width}',
        )


def stages_of(cfg: StagesConfig, spec: ImageSpec) -> list[int]:
    """Returns the resolutions 4, 8, ... of the stages. ConfigError unless the config has one stage for each."""
    res = spec.resolution
    if res < 8 or res & (res - 1):
        raise ConfigError(f'resolution={res}: R3GAN needs a power of two, at least 8; convert with dataset_tool.py')
    found = [2**i for i in range(2, res.bit_length())]
    need = f'images of {spec.width}x{spec.height} have {len(found)} stages, one number each'
    require(len(cfg.widths) == len(found), 'widths', cfg.widths, need)
    return found


def blocks_of(cfg: StagesConfig, index: int) -> list[ResidualBlock]:
    """Returns the residual blocks of the stage `index`, counted from 4x4."""
    total, width = sum(cfg.num_blocks), cfg.channels[index]
    return [ResidualBlock(width, cfg.expansion, cfg.group_channels, total) for _ in range(cfg.num_blocks[index])]


@register_generator('r3gan', config=R3GANGeneratorConfig)
class R3GANGenerator(LatentGenerator):
    """Generator: z [N, z_dim] and c [N, c_dim] -> image [N, C, H, W] float32, unbounded."""

    def __init__(self, config: R3GANGeneratorConfig, spec: ImageSpec) -> None:
        super().__init__(config.z_dim, spec)
        if self.embed is not None:
            normal_(self.embed, gain=1)
        self.stages = torch.nn.ModuleList()
        for i, res in enumerate(stages_of(config, spec)):
            transition: torch.nn.Module = (
                Resample(config.channels[i - 1], config.channels[i], up=True)
                if i
                else GenerativeBasis(self.v_dim, config.channels[0], spec.size_at(4))
            )
            lowered = is_lowered(config, spec, res)
            self.stages.append(Stage(transition, blocks_of(config, i), transition_first=True, lowered=lowered))
        self.to_rgb = conv(config.channels[-1], spec.channels, 1, gain=1)

    def forward(
        self, z: torch.Tensor, c: torch.Tensor, *, truncation_psi: float = 1, noise_mode: str = 'random'
    ) -> torch.Tensor:
        """Returns the image; `LatentGenerator.vector` has the arguments and errors."""
        x = self.vector(z, c, truncation_psi, noise_mode)  # [N, V]
        for stage in self.stages:
            x = stage(x)  # [N, O, h, w]
        return self.to_rgb(x).float()  # [N, C, H, W]


@register_discriminator('r3gan', config=R3GANDiscriminatorConfig)
class R3GANDiscriminator(torch.nn.Module):
    """Discriminator: image [N, C, H, W] and label [N, c_dim] -> logits [N, 1] float32; larger means more real.

    With labels the logit is the product of the features [N, E] and the label's embedding.
    """

    def __init__(self, config: R3GANDiscriminatorConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.c_dim, self.img_resolution, self.img_channels = spec.label_dim, spec.resolution, spec.channels
        resolutions, width = stages_of(config, spec), config.channels[0]
        self.from_rgb = conv(spec.channels, config.channels[-1], 1, gain=1)
        self.stages = torch.nn.ModuleList()
        for i in reversed(range(len(resolutions))):
            transition: torch.nn.Module = (
                Resample(config.channels[i], config.channels[i - 1], up=False)
                if i
                else DiscriminativeBasis(width, width if self.c_dim else 1, spec.size_at(4))
            )
            lowered = is_lowered(config, spec, resolutions[i])
            self.stages.append(Stage(transition, blocks_of(config, i), transition_first=False, lowered=lowered))
        self.embed = linear(self.c_dim, width, gain=1 / math.sqrt(width)) if self.c_dim else None

    def forward(self, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        first = self.stages[0]
        assert isinstance(first, Stage)
        x = self.from_rgb(first.lower(img))  # [N, O, H, W]
        for stage in self.stages:
            x = stage(x)  # [N, O, h, w], last [N, 1] or [N, E]
        return x if self.embed is None else (x * self.embed(c)).sum(dim=1, keepdim=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A column of the table of presets: what differs between data sets.

    width: channels up to 32x32, or at all resolutions if `halves` is off.
    halves: whether every doubling beyond 32x32 halves the width.
    group_channels: input channels of a group of the 3x3 convolutions.
    gpus, batch: GPUs, and images per step.
    gamma: weight of R1 and R2 at the start; a tenth of it at the end.
    p: strength of the augmentation at the end.
    ema_kimg: half-life of the moving average at the end.
    kimg: length of the schedules.
    """

    width: int
    halves: bool
    group_channels: int
    gpus: int
    batch: int
    gamma: float
    p: float
    ema_kimg: float
    kimg: int


CIFAR10 = Preset(
    width=768, halves=True, group_channels=16, gpus=8, batch=512, gamma=0.05, p=0.55, ema_kimg=5000, kimg=20_000
)
FFHQ = Preset(width=768, halves=True, group_channels=16, gpus=8, batch=256, gamma=2, p=0.3, ema_kimg=500, kimg=20_000)
IMAGENET32 = Preset(
    width=1536, halves=False, group_channels=32, gpus=32, batch=4096, gamma=0.5, p=0.5, ema_kimg=50_000, kimg=200_000
)
IMAGENET64 = replace(IMAGENET32, gpus=64, gamma=1, p=0.4)


@register_recipe('r3gan', paper=PAPER, min_resolution=8)
def r3gan(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the preset CIFAR10 up to 32x32, FFHQ-64 at 64x64, and FFHQ-256 at 256x256.

    The published table has no other sizes. Between and beyond 64x64 and 256x256, gamma follows the power law through
    its values there, 2 and 150.
    """
    res = facts.resolution
    gamma = FFHQ.gamma * (150 / FFHQ.gamma) ** (math.log2(res / 64) / 2)
    return preset_run('r3gan', facts, num_gpus, CIFAR10 if res <= 32 else replace(FFHQ, gamma=gamma))


@register_recipe('r3gan-imagenet', paper=PAPER, min_resolution=8)
def r3gan_imagenet(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the preset ImageNet-32 up to 32x32, and ImageNet-64 from 64x64 on; with labels, as published.

    The published table has no other sizes. Beyond 64x64 gamma doubles with the resolution, as from 32x32 to 64x64.
    """
    res = facts.resolution
    preset = IMAGENET32 if res <= 32 else replace(IMAGENET64, gamma=IMAGENET64.gamma * res / 64)
    return preset_run('r3gan-imagenet', facts, num_gpus, preset)


def preset_run(cfg: str, facts: ImageSpec, num_gpus: int, preset: Preset) -> RunConfig:
    """Returns the run of a preset, as long as its schedules; the official one is stopped by hand.

    Args:
        cfg: Name of the recipe.
        facts: Facts of the data set.
        num_gpus: Number of GPUs. With fewer than the preset's, its micro-batch is kept and gradients are accumulated.
        preset: Numbers of the data set.
    """
    stages = [2**i for i in range(2, facts.resolution.bit_length())]  # 4, 8, ... R
    layout: dict[str, Any] = {
        'widths': tuple(preset.width * 32 // max(res, 32) if preset.halves else preset.width for res in stages),
        'num_blocks': (2,) * len(stages),
        'group_channels': preset.group_channels,
    }
    optimizer = OptimizerConfig(lr=2e-4, beta1=0.0, beta2=0.9)
    return RunConfig(
        cfg=cfg,
        generator=R3GANGeneratorConfig(**layout),
        discriminator=R3GANDiscriminatorConfig(**layout),
        loss=LossConfig(kind='relativistic', labels='paired'),
        r1=R1Config(gamma=preset.gamma, interval=None, shared=True),
        r2=R2Config(gamma=preset.gamma, shared=True),
        pl=PathLengthConfig(weight=0, interval=None),
        style_mixing_prob=0.0,
        aug=AugmentConfig(kind='fixed', pipe='r3gan', p=0.0),
        g_opt=optimizer,
        d_opt=optimizer,
        ema=EmaConfig(kimg=0),
        schedule=ScheduleConfig(
            kimg=preset.kimg, lr=5e-5, beta2=0.99, gamma=preset.gamma / 10, ema_kimg=preset.ema_kimg, p=preset.p
        ),
        d_first=True,
        fresh_reals=True,
        gpus=num_gpus,
        batch=preset.batch,
        batch_gpu=preset.batch // max(preset.gpus, num_gpus),
        kimg=preset.kimg,
    )
