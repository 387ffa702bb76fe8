"""Options of StyleGAN2's networks. Facts of the data set (resolution, channels, labels) are not options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from dnnlib.config import require
from dnnlib.errors import ConfigError
from training.interface import ImageSpec

ARCHITECTURES = ('skip', 'resnet', 'orig')


@dataclass(frozen=True, kw_only=True, slots=True)
class StyleGAN2GeneratorConfig:
    """Generator: mapping and synthesis network (Karras et al. 2020, arXiv 1912.04958)."""

    z_dim: int = 512  # width of the latent z
    w_dim: int = 512  # width of the intermediate latent w
    map_depth: int = 8  # layers of the mapping network
    map_lr_multiplier: float = 0.01  # learning rate of the mapping network, relative to the rest
    channel_base: int = 32768  # a block at resolution R has channel_base / R channels ...
    channel_max: int = 512  # ... but no more than this
    architecture: Literal['skip', 'resnet', 'orig'] = 'skip'  # the paper's Fig. 7: path from blocks to the image
    num_fp16_res: int = 4  # number of highest resolutions computed in the run's lower precision
    conv_clamp: float | None = 256  # largest magnitude of an activation; None: unbounded
    w_avg_beta: float = 0.995  # decay of the running mean of w, per update

    def __post_init__(self) -> None:
        for name in ('z_dim', 'w_dim', 'map_depth', 'channel_base', 'channel_max'):
            require(getattr(self, name) >= 1, name, getattr(self, name), 'must be at least 1')
        require(self.map_lr_multiplier > 0, 'map_lr_multiplier', self.map_lr_multiplier, 'must be positive')
        require(0 <= self.w_avg_beta < 1, 'w_avg_beta', self.w_avg_beta, 'must lie in [0, 1)')
        check_blocks(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class StyleGAN2DiscriminatorConfig:
    """Discriminator with minibatch standard deviation and projection of labels."""

    channel_base: int = 32768  # a block at resolution R has channel_base / R channels ...
    channel_max: int = 512  # ... but no more than this
    architecture: Literal['skip', 'resnet', 'orig'] = 'resnet'  # the paper's Fig. 7: path from the image to blocks
    num_fp16_res: int = 4  # number of highest resolutions computed in the run's lower precision
    conv_clamp: float | None = 256  # largest magnitude of an activation; None: unbounded
    cmap_dim: int | None = None  # width of mapped labels; None: the channels at 4x4
    map_depth: int = 8  # layers of the label mapping; 0: only its embedding
    map_lr_multiplier: float = 0.01  # learning rate of the label mapping, relative to the rest
    mbstd_group: int | None = 4  # samples per group, a divisor of the micro-batch; None: all samples
    mbstd_channels: int = 1  # features of the standard deviation; 0: none
    freezed: int = 0  # number of first layers that do not train (Mo et al. 2020, Freeze-D)

    def __post_init__(self) -> None:
        for name in ('channel_base', 'channel_max'):
            require(getattr(self, name) >= 1, name, getattr(self, name), 'must be at least 1')
        require(
            self.mbstd_group is None or self.mbstd_group >= 1, 'mbstd_group', self.mbstd_group, 'must be at least 1'
        )
        require(self.map_lr_multiplier > 0, 'map_lr_multiplier', self.map_lr_multiplier, 'must be positive')
        for name in ('map_depth', 'mbstd_channels', 'freezed'):
            require(getattr(self, name) >= 0, name, getattr(self, name), 'must be non-negative')
        require(self.cmap_dim is None or self.cmap_dim >= 1, 'cmap_dim', self.cmap_dim, 'must be at least 1, or none')
        check_blocks(self)


StyleGAN2Config = StyleGAN2GeneratorConfig | StyleGAN2DiscriminatorConfig


class LowerableConfig(Protocol):
    """Options of networks whose highest resolutions compute in lower precision, including those of extensions."""

    @property
    def num_fp16_res(self) -> int:
        """Number of highest resolutions computed in the run's lower precision."""


class BlocksConfig(LowerableConfig, Protocol):
    """Options of networks with one block per resolution."""

    @property
    def channel_base(self) -> int:
        """Product of a block's resolution and width."""

    @property
    def channel_max(self) -> int:
        """Largest width of a block."""


def check_blocks(cfg: StyleGAN2Config) -> None:
    """Raises ConfigError if a field shared by G and D is out of range."""
    require(cfg.architecture in ARCHITECTURES, 'architecture', cfg.architecture, f'one of {", ".join(ARCHITECTURES)}')
    require(cfg.num_fp16_res >= 0, 'num_fp16_res', cfg.num_fp16_res, 'must be non-negative')
    require(cfg.conv_clamp is None or cfg.conv_clamp > 0, 'conv_clamp', cfg.conv_clamp, 'must be positive, or none')


def channels_at(cfg: BlocksConfig, resolution: int) -> int:
    """Returns the width of the block at `resolution`. ConfigError if channel_base is too small for it."""
    channels = min(cfg.channel_base // resolution, cfg.channel_max)
    require(channels >= 1, 'channel_base', cfg.channel_base, f'at {resolution}x{resolution} at least {resolution}')
    return channels


def resolutions(spec: ImageSpec) -> list[int]:
    """Returns 4, 8, ... up to the images' resolution. ConfigError unless it is a power of two, at least 8."""
    res = spec.resolution
    if res < 8 or res & (res - 1):
        raise ConfigError(
            f'resolution={res}: StyleGAN2 needs a power of two, at least 8; convert the data with dataset_tool.py'
        )
    return [2**i for i in range(2, res.bit_length())]


def is_lowered(cfg: LowerableConfig, spec: ImageSpec, resolution: int) -> bool:
    """Whether a block computes in lower precision; blocks at 4x4 never do.

    Args:
        cfg: Config of the network.
        spec: Facts of the data set.
        resolution: Resolution of the block.
    """
    return resolution >= 8 and resolution << cfg.num_fp16_res > spec.resolution
