"""GConv, generative convolution: a residual generator that recombines its kernels for each sample by the latent.

Park and Shin, arXiv 2111.15171. This file has the generator (Table 1) and the recipe, `extensions/layers/gconv.py` the
layer, `extensions/layers/sngan.py` the discriminator (Table 2), `gconv_stylegan2.py` GConv in StyleGAN2's blocks. The
paper counts the weights K, W_s and W_L of the blocks' 3x3 convolutions: at 32x32, 3.54 M with Conv and 4.37 M with
GConv. Here they are 3,538,944 and 4,374,528.

Letters: N batch, I and C input and output channels of a block, H and W height and width, V width of v, which is z or,
with labels, [z, one-hot].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from extensions.layers.batch_norm import BatchNorm2d, BigBN, normalized
from extensions.layers.gconv import GConv2d, VConv2d, xavier_
from extensions.layers.preparation import Preparation
from extensions.layers.sngan import SNGANDiscriminatorConfig
from extensions.layers.spectral_norm import Conv2d, Linear
from training.config import EmaConfig, LossConfig, OptimizerConfig, PathLengthConfig, R1Config, RunConfig, require
from training.interface import ImageSpec
from training.networks.config import channels_at, is_lowered
from training.networks.layers import LowerableBlock
from training.registry import register_generator, register_recipe

PAPER = 'Park and Shin, Generative Convolution Layer for Image Generation, arXiv 2111.15171'

Layer = Callable[..., torch.nn.Module]  # constructor of a layer


@dataclass(frozen=True, kw_only=True, slots=True)
class GConvConfig:
    """Generator of Table 1: features at resolution R have channel_base / R channels, at most channel_max.

    channel_max is 256 at 32x32. The defaults are those of 128x128 and 256x256.
    """

    z_dim: int = 32  # width of the latent z; of 16, 32, 64 and 128, only 32 gives the paper's 4.37 M
    channel_base: int = 8192
    channel_max: int = 512
    # Convolutions of the blocks. 'conv_wide' is Conv*: 'conv', widened evenly to the number of weights of 'gconv'.
    convolution: Literal['gconv', 'conv', 'conv_wide'] = 'gconv'
    # Attention after each 3x3 convolution of the blocks. 'ca' is the dagger of Table 3, "the CA technique" of CBAM,
    # that is, its channel attention; 'cbam' adds the spatial attention.
    attention: Literal['none', 'ca', 'cbam'] = 'none'
    activation: Literal['relu', 'elu', 'glu'] = 'relu'  # activation of the blocks (Table 5); the last: ReLU
    # Whether the 1x1 shortcuts, which exist where channels change (not at 32x32), are GConvs. A reading: the paper
    # "just replaced Conv in the generator with GConv", and no printed number decides.
    gconv_shortcut: bool = True
    # Spectral normalization of no layer, of every layer except BigBN's (K, W_s and W_L separately), or of all layers as
    # in BigGAN. A reading: the paper only states that G has it.
    sn: Literal['none', 'layers', 'all'] = 'none'
    num_fp16_res: int = 4  # number of highest resolutions computed in the run's lower precision

    def __post_init__(self) -> None:
        for name in ('z_dim', 'channel_base', 'channel_max'):
            require(getattr(self, name) >= 1, name, getattr(self, name), 'must be at least 1')
        require(self.num_fp16_res >= 0, 'num_fp16_res', self.num_fp16_res, 'must be non-negative')
        for name, choices in (
            ('convolution', ('gconv', 'conv', 'conv_wide')),
            ('attention', ('none', 'ca', 'cbam')),
            ('activation', ('relu', 'elu', 'glu')),
            ('sn', ('none', 'layers', 'all')),
        ):
            require(getattr(self, name) in choices, name, getattr(self, name), f'one of {", ".join(choices)}')


def widths_of(cfg: GConvConfig, spec: ImageSpec) -> list[int]:
    """Returns the channels at 4, 8, ... up to the images' resolution.

    Conv* scales all of them by the square root of the ratio of GConv's weights to Conv's: at 32x32, 256 become 285.
    """
    widths = [channels_at(cfg, 2**i) for i in range(2, spec.resolution.bit_length())]
    if cfg.convolution != 'conv_wide':
        return widths
    v_dim = cfg.z_dim + spec.label_dim
    pairs = [pair for i, c in itertools.pairwise(widths) for pair in ((i, c), (c, c))]
    shared = sum(9 * i * c for i, c in pairs)
    added = sum((i + v_dim) * c + c * c for i, c in pairs)  # W_s and W_L
    return [round(c * math.sqrt(1 + added / shared)) for c in widths]


class BigActivation(torch.nn.Module):
    """BigBN and an activation, [N, C, H, W] -> same shape; v [N, V] determines the affine map."""

    def __init__(self, channels: int, v_dim: int, linear: Layer, activation: str) -> None:
        super().__init__()
        self.activation = F.relu if activation == 'relu' else F.elu
        self.norm = BigBN(channels, v_dim, linear)

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return self.activation(self.norm(x, v))


class BigGLU(torch.nn.Module):
    """Gated linear unit: one BN and two affine maps determined by v, (g_1 y + b_1) sigmoid(g_2 y + b_2).

    A reading: this form changes only the activation. Halving the channels would halve the convolutions' inputs,
    doubling them would double the weights; the paper mentions neither.
    """

    def __init__(self, channels: int, v_dim: int, linear: Layer) -> None:
        super().__init__()
        self.bn = BatchNorm2d(channels, affine=False)
        self.gain = linear(v_dim, 2 * channels)
        self.shift = linear(v_dim, 2 * channels)

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        y = normalized(self.bn, x.float()).repeat(1, 2, 1, 1)  # [N, 2 C, H, W]
        gain, shift = 1 + self.gain(v)[:, :, None, None], self.shift(v)[:, :, None, None]  # [N, 2 C, 1, 1]
        return F.glu(torch.addcmul(shift, y, gain), dim=1).to(x.dtype)


class Attention(torch.nn.Module):
    """CBAM (Woo et al. 2018): channel attention (Eq. 2) and, if `spatial`, spatial attention (Eq. 3).

    The MLP has max(C / 16, 1) hidden units and processes both the mean and the maximum. The 7x7 convolution has no BN,
    as in Eq. 3.
    """

    def __init__(self, channels: int, *, spatial: bool, linear: Layer, conv: Layer) -> None:
        super().__init__()
        hidden = max(channels // 16, 1)
        self.mlp = torch.nn.Sequential(linear(channels, hidden), torch.nn.ReLU(), linear(hidden, channels))
        self.spatial = conv(2, 1, 7, padding=3) if spatial else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = torch.sigmoid(self.mlp(x.mean([2, 3])) + self.mlp(x.amax([2, 3])))  # [N, C]
        x = x * scale[:, :, None, None]
        if self.spatial is None:
            return x
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)  # [N, 2, H, W]
        return x * torch.sigmoid(self.spatial(pooled))


class GConvBlock(LowerableBlock):
    """Block of Fig. 5(a): BigBN, activation, nearest upsampling, 3x3, BigBN, activation, 3x3, and the shortcut.

    [N, I, H, W], v [N, V] -> [N, C, 2 H, 2 W]. The shortcut is a 1x1 convolution, only where channels change, and
    nearest upsampling: the paper's 3.54 M are exactly six 3x3 convolutions.
    """

    def __init__(self, cfg: GConvConfig, in_channels: int, out_channels: int, v_dim: int, lowered: bool) -> None:
        super().__init__(lowered)
        sn = cfg.sn != 'none'
        conv = partial(GConv2d, v_dim=v_dim, sn=sn) if cfg.convolution == 'gconv' else partial(VConv2d, sn=sn)
        shortcut = conv if cfg.gconv_shortcut else partial(VConv2d, sn=sn)
        linear = partial(Linear, bias=False, sn=cfg.sn == 'all')
        act = BigGLU if cfg.activation == 'glu' else partial(BigActivation, activation=cfg.activation)

        def attention() -> torch.nn.Module | None:
            if cfg.attention == 'none':
                return None
            linear, conv = partial(Linear, sn=sn), partial(Conv2d, sn=sn)
            return Attention(out_channels, spatial=cfg.attention == 'cbam', linear=linear, conv=conv)

        self.act0 = act(in_channels, v_dim, linear)
        self.conv0 = conv(in_channels, out_channels, up=2)
        self.attention0 = attention()
        self.act1 = act(out_channels, v_dim, linear)
        self.conv1 = conv(out_channels, out_channels)
        self.attention1 = attention()
        self.skip = shortcut(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        x = self.lower(x)
        h = self.conv0(self.act0(x, v), v)  # [N, C, 2 H, 2 W]
        h = h if self.attention0 is None else self.attention0(h)
        h = self.conv1(self.act1(h, v), v)
        h = h if self.attention1 is None else self.attention1(h)
        x = x if self.skip is None else self.skip(x, v)  # precedes upsampling, with which it commutes
        return h + F.interpolate(x, scale_factor=2, mode='nearest')


@register_generator('gconv', config=GConvConfig)
class GConvGenerator(torch.nn.Module):
    """Generator of Table 1: z [N, z_dim] and label [N, c_dim] -> image [N, C, H, W] float32 in (-1, 1), without noise.

    The first layer reads z; every BigBN and GConv reads v, the paper's "conditional BigBN and GConv". Convolutions have
    biases, which the paper's counts omit; BN cancels most of them during training.
    """

    def __init__(self, config: GConvConfig, spec: ImageSpec) -> None:
        super().__init__()
        res = spec.resolution
        self.z_dim, self.c_dim = config.z_dim, spec.label_dim
        self.img_resolution, self.img_channels = res, spec.channels
        if res < 8 or res & (res - 1):
            raise ConfigError(f'resolution={res}: gconv needs a power of two, at least 8; convert with dataset_tool.py')
        widths = widths_of(config, spec)
        sn = config.sn != 'none'
        self.base = spec.size_at(4)
        self.fc = Linear(self.z_dim, widths[0] * self.base[0] * self.base[1], sn=sn)
        self.blocks = torch.nn.ModuleList(
            GConvBlock(config, i, c, self.z_dim + self.c_dim, is_lowered(config, spec, 8 << k))
            for k, (i, c) in enumerate(itertools.pairwise(widths))
        )
        self.bn = BatchNorm2d(widths[-1])
        self.rgb = Conv2d(widths[-1], spec.channels, 3, padding=1, sn=sn)
        xavier_(self)
        self.preparation = Preparation(self)

    def forward(
        self, z: torch.Tensor, c: torch.Tensor | None, *, truncation_psi: float = 1, noise_mode: str = 'random'
    ) -> torch.Tensor:
        """Returns the image.

        Args:
            z: latents, [N, z_dim].
            c: labels, [N, c_dim]; ignored if c_dim is 0.
            truncation_psi: factor on z; BN's running statistics are those of 1.
            noise_mode: 'random', 'const' or 'none'; without effect.

        Raises:
            ValueError: if noise_mode is unknown.
        """
        if noise_mode not in ('random', 'const', 'none'):
            raise ValueError(f"noise_mode '{noise_mode}': must be random, const or none")
        z = z.float() * truncation_psi
        v = z  # [N, V]
        if self.c_dim > 0:
            assert c is not None, f'labels [N, {self.c_dim}] are needed, got None'
            v = torch.cat([z, c.float()], dim=1)
        with self.preparation():
            x = self.fc(z).unflatten(1, (-1, *self.base))  # [N, C, H, W] of the base
            for block in self.blocks:
                x = block(x, v)
            return torch.tanh(self.rgb(F.relu(normalized(self.bn, x.float()))))


@register_recipe('gconv', paper=PAPER, min_resolution=32)
def gconv(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns section 3.2's config for CIFAR (32x32), LSUN, CelebA, tiny-ImageNet (128x128) or CelebA-HQ (256x256).

    The paper gives no settings for other sizes: 64x64 uses those of 128x128, larger sizes those of 256x256. Iterations
    of G are counted in images shown to D: iterations x steps of D x batch. With labels, 128x128 runs for the million
    iterations of tiny-ImageNet, the paper's only labeled data at that size. G has no spectral normalization at 256x256:
    the paper does not list CelebA-HQ among the data that have it, and it shares CIFAR's optimizer settings. BN uses the
    statistics of a micro-batch, so that results depend on `batch_gpu`; the paper's is the whole batch.
    """
    res = facts.resolution
    column: dict[str, Any]
    if res <= 32:  # 50,000 iterations, all with falling learning rates
        column = {'batch': 64, 'g_batch_mult': 2, 'n_critic': 5, 'kimg': 16000, 'lr_decay_kimg': 16000}
    elif res <= 128:  # 300,000 or 1,000,000 iterations, the last 50,000 with falling learning rates
        column = {'batch': 32, 'kimg': 32000 if facts.label_dim > 0 else 9600, 'lr_decay_kimg': 1600}
    else:  # 100,000 iterations, the last 50,000 with falling learning rates
        column = {'batch': 16, 'g_batch_mult': 2, 'n_critic': 5, 'kimg': 8000, 'lr_decay_kimg': 4000}
    ttur = 32 < res <= 128  # two time scales (Heusel et al. 2017)
    adam = partial(OptimizerConfig, beta1=0.0, beta2=0.9)
    return RunConfig(
        cfg='gconv',
        generator=GConvConfig(channel_max=256 if res <= 32 else 512, sn='layers' if ttur else 'none'),
        discriminator=SNGANDiscriminatorConfig(channel_max=128 if res <= 32 else 512, num_plain=2 if res <= 32 else 1),
        loss=LossConfig(kind='hinge'),
        r1=R1Config(gamma=0, interval=None),
        pl=PathLengthConfig(weight=0, interval=None),
        style_mixing_prob=0.0,
        g_opt=adam(lr=1e-4 if ttur else 2e-4),
        d_opt=adam(lr=4e-4 if ttur else 2e-4),
        ema=EmaConfig(kimg=0),  # no average, since the paper mentions none: G itself is sampled and measured
        gpus=num_gpus,
        batch_gpu=column['batch'] // num_gpus,
        **column,
    )
