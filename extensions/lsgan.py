"""LSGAN as measured in Tables 5 and 6 of GIU-GANs: upsampling and 3x3 convolutions in G, a small strided D.

The loss is that of Mao et al. 2017, "Least Squares Generative Adversarial Networks". The networks are not: the printed
counts fit a widely used public implementation, rebuilt here from its shapes. Its dropout, which no count shows, and its
BN epsilon of 0.8 are omitted.

Letters: N batch, I and O input and output channels, C those of the image, V width of the input vector, H and W height
and width of the image, R its resolution, r that of a stage's output, h and w height and width of its features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from extensions.layers.batch_norm import BatchNorm2d, normalized
from extensions.layers.latent import LatentGenerator, Projection
from extensions.layers.latent_run import latent_run
from extensions.layers.preparation import Preparation
from extensions.layers.spectral_norm import Conv2d, Linear
from training.config import LossConfig, RunConfig, require
from training.interface import ImageSpec
from training.networks.config import channels_at
from training.networks.layers import LowerableBlock
from training.registry import register_discriminator, register_generator, register_recipe

PAPER = 'Mao et al., Least Squares GANs, ICCV 2017, as compared by Tian et al., GIU-GANs, 2022'
START = 8  # resolution of the features made by the linear layer of G
END = 2  # resolution of the features read by the linear layer of D


@dataclass(frozen=True, kw_only=True, slots=True)
class LSGANGeneratorConfig:
    """Generator: stage r, from 16 to R, has min(channel_base / r, channel_max) channels."""

    z_dim: int = 100  # width of the latent z
    start_channels: int = 128  # channels of the 8x8 features made by the linear layer
    channel_base: int = 2048  # 64 R: 64 channels at the last stage
    channel_max: int = 512
    num_fp16_res: int = 4  # number of highest resolutions computed in the run's lower precision

    def __post_init__(self) -> None:
        for name in ('z_dim', 'start_channels'):
            require(getattr(self, name) >= 1, name, getattr(self, name), 'must be at least 1')
        check_widths(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class LSGANDiscriminatorConfig:
    """Discriminator: stage r, from R / 2 to 2, has min(channel_base / r, channel_max) channels."""

    channel_base: int = 256  # 8 R: 16 channels at the first stage
    channel_max: int = 512
    num_fp16_res: int = 4

    def __post_init__(self) -> None:
        check_widths(self)


LSGANConfig = LSGANGeneratorConfig | LSGANDiscriminatorConfig


def check_widths(cfg: LSGANConfig) -> None:
    """Raises ConfigError if a field shared by G and D is out of range."""
    for name in ('channel_base', 'channel_max'):
        require(getattr(cfg, name) >= 1, name, getattr(cfg, name), 'must be at least 1')
    require(cfg.num_fp16_res >= 0, 'num_fp16_res', cfg.num_fp16_res, 'must be non-negative')


def check_resolution(res: int) -> None:
    """Raises ConfigError unless `res` is a power of two and at least 16."""
    if res < 16 or res & (res - 1):
        raise ConfigError(f'resolution={res}: must be a power of two, at least 16; convert with dataset_tool.py')


def lowered(cfg: LSGANConfig, spec: ImageSpec, resolution: int) -> bool:
    """Whether the stage at `resolution` computes in lower precision.

    Args:
        cfg: Config of the network.
        spec: Facts of the data set.
        resolution: Resolution of the stage.
    """
    return resolution << cfg.num_fp16_res > spec.resolution


class UpStage(LowerableBlock):
    """lrelu(BN(conv(up(x)))) with nearest-neighbor upsampling, [N, I, H, W] -> [N, O, 2 H, 2 W]."""

    def __init__(self, in_channels: int, out_channels: int, lowered: bool) -> None:
        super().__init__(lowered)
        self.conv = Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = BatchNorm2d(out_channels)
        self.act = torch.nn.LeakyReLU(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(self.lower(x), scale_factor=2, mode='nearest')
        return self.act(normalized(self.norm, self.conv(x)))


class DownStage(LowerableBlock):
    """BN(lrelu(conv(x))), in this order: [N, I, H, W] -> [N, O, H / 2, W / 2]. The first stage has no BN."""

    def __init__(self, in_channels: int, out_channels: int, *, has_norm: bool, lowered: bool) -> None:
        super().__init__(lowered)
        self.conv = Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.act = torch.nn.LeakyReLU(0.2)
        self.norm = BatchNorm2d(out_channels) if has_norm else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.conv(self.lower(x)))
        return x if self.norm is None else normalized(self.norm, x)


@register_generator('lsgan', config=LSGANGeneratorConfig)
class LSGANGenerator(LatentGenerator):
    """Generator: z [N, z_dim] and c [N, c_dim] -> image [N, C, H, W] float32 in (-1, 1)."""

    def __init__(self, config: LSGANGeneratorConfig, spec: ImageSpec) -> None:
        super().__init__(config.z_dim, spec)
        check_resolution(spec.resolution)
        self.stages = [2**i for i in range(START.bit_length(), spec.resolution.bit_length())]  # 16, 32, ... R
        in_channels = config.start_channels
        self.start = h, w = spec.size_at(START)
        self.fc = Linear(self.v_dim, in_channels * h * w)
        for res in self.stages:
            setattr(self, f'b{res}', UpStage(in_channels, channels_at(config, res), lowered(config, spec, res)))
            in_channels = channels_at(config, res)
        self.last = Conv2d(in_channels, spec.channels, 3, padding=1)
        self.preparation = Preparation(self)

    def forward(
        self, z: torch.Tensor, c: torch.Tensor, *, truncation_psi: float = 1, noise_mode: str = 'random'
    ) -> torch.Tensor:
        """Returns the image; `LatentGenerator.vector` has the arguments and errors."""
        with self.preparation():
            x = self.fc(self.vector(z, c, truncation_psi, noise_mode))  # [N, O h w]
            x = x.unflatten(1, (-1, *self.start))  # [N, O, h, w]
            for res in self.stages:
                x = getattr(self, f'b{res}')(x)  # [N, O, h, w]
            return torch.tanh(self.last(x.to(self.last.weight.dtype)))  # [N, C, H, W]


@register_discriminator('lsgan', config=LSGANDiscriminatorConfig)
class LSGANDiscriminator(torch.nn.Module):
    """Discriminator: image [N, C, H, W] and label [N, c_dim] -> logits [N, 1] float32, with a projection of labels."""

    def __init__(self, config: LSGANDiscriminatorConfig, spec: ImageSpec) -> None:
        super().__init__()
        check_resolution(spec.resolution)
        self.c_dim, self.img_resolution, self.img_channels = spec.label_dim, spec.resolution, spec.channels
        self.stages = [2**i for i in range(spec.resolution.bit_length() - 2, 0, -1)]  # R / 2, ... 2
        in_channels = spec.channels
        for res in self.stages:
            stage = DownStage(
                in_channels,
                channels_at(config, res),
                has_norm=res != self.stages[0],
                lowered=lowered(config, spec, res),
            )
            setattr(self, f'b{res}', stage)
            in_channels = channels_at(config, res)
        h, w = spec.size_at(END)
        self.last = Linear(in_channels * h * w, 1)
        self.project = Projection(self.c_dim, in_channels, pixels=h * w) if self.c_dim else None
        self.preparation = Preparation(self)

    def forward(self, img: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        h = img  # [N, C, H, W]
        with self.preparation():
            for res in self.stages:
                h = getattr(self, f'b{res}')(h)  # [N, O, h, w]
            h = h.to(self.last.weight.dtype)  # [N, O, h, w]
            logits = self.last(h.flatten(1))  # [N, 1]
            return logits if self.project is None else logits + self.project(h, c)


@register_recipe('lsgan', paper=PAPER, min_resolution=16)
def lsgan(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the config: least squares, Adam with lr 2e-4 and betas 0.5 and 0.999, which GIU-GANs does not print.

    32x32 and 64x64 are the measured networks. Every doubling of the resolution adds a stage at the image's side of each
    network; the other side has at most 512 channels.
    """
    return latent_run(
        'lsgan',
        facts,
        num_gpus,
        generator=LSGANGeneratorConfig(channel_base=64 * facts.resolution),
        discriminator=LSGANDiscriminatorConfig(channel_base=8 * facts.resolution),
        loss=LossConfig(kind='lsgan'),
        beta1=0.5,
        beta2=0.999,
    )
