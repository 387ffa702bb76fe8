"""GConv, generative convolution: a residual generator whose kernels every sample recombines by its latent.

Park and Shin, arXiv 2111.15171. The layer is `extensions/layers/gconv.py`, the discriminator (Table 2)
`extensions/layers/sngan.py`; here are the generator (Table 1) and the recipe. The paper counts the weights of the
blocks' 3x3 convolutions, K, W_s and W_L: at 32x32 3.54 M with Conv and 4.37 M with GConv, here 3,538,944 and 4,374,528.
GConv in StyleGAN2's blocks is `gconv_stylegan2.py`.

Letters: N batch, I and C channels that enter and leave a block, H and W height and width, V width of v: z, with labels
[z, one-hot].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from extensions.layers.batch_norm import BigBN
from extensions.layers.gconv import GConv2d, VConv2d, xavier_
from extensions.layers.sngan import SNGANDiscriminatorConfig
from extensions.layers.spectral_norm import Conv2d, Linear
from training.config import EmaConfig, LossConfig, OptimizerConfig, PathLengthConfig, R1Config, RunConfig, require
from training.interface import ImageSpec
from training.networks.config import channels_at, is_lowered
from training.networks.layers import LowerableBlock
from training.registry import register_generator, register_recipe

PAPER = 'Park and Shin, Generative Convolution Layer for Image Generation, arXiv 2111.15171'


@dataclass(frozen=True, kw_only=True, slots=True)
class GConvConfig:
    """Table 1: the features at resolution R have channel_base / R channels, at most channel_max.

    At 32x32 channel_max is 256; 128x128 and 256x256 have the defaults.
    """

    z_dim: int = 32  # width of the latent z; of 16, 32, 64 and 128 only 32 gives the paper's 4.37 M
    channel_base: int = 8192
    channel_max: int = 512
    # Of the blocks. 'conv_wide' is Conv*: 'conv', widened evenly to as many weights as 'gconv' has.
    convolution: Literal['gconv', 'conv', 'conv_wide'] = 'gconv'
    # After each 3x3 convolution of the blocks. 'ca' is the dagger of Table 3: the paper speaks of "the CA technique" of
    # CBAM, which is its channel attention; 'cbam' adds its spatial attention.
    attention: Literal['none', 'ca', 'cbam'] = 'none'
    activation: Literal['relu', 'elu', 'glu'] = 'relu'  # of the blocks (Table 5); the last one is ReLU always
    # Whether a 1x1 shortcut (there is one where channels change: not at 32x32) is a GConv too. The paper "just replaced
    # Conv in the generator with GConv", and no number decides.
    gconv_shortcut: bool = True
    # Spectral normalisation: of no layer; of every layer but BigBN's (of K, W_s and W_L each by itself); of BigBN's
    # too, as BigGAN does. The paper only says that G has it.
    sn: Literal['none', 'layers', 'all'] = 'none'
    num_fp16_res: int = 4  # this many of the highest resolutions compute in the run's lower precision

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
    """Channels at 4, 8, ... up to the images' resolution.

    Conv* scales all of them by the root of the ratio of the weights, GConv's to Conv's: at 32x32 256 become 285.
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
    """BigBN and the activation behind it, [N, C, H, W] -> the same; the affine map follows v [N, V]."""

    def __init__(self, channels: int, v_dim: int, linear: Callable, activation: str) -> None:
        super().__init__()
        self.activation = F.relu if activation == 'relu' else F.elu
        self.norm = BigBN(channels, v_dim, linear)

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return self.activation(self.norm(x, v))


class BigGLU(torch.nn.Module):
    """A gated linear unit: one BN, two affine maps that follow v, (g_1 y + b_1) sigmoid(g_2 y + b_2).

    Of the ways to wire a GLU it is the one that changes the activation alone. Halving the channels would leave half of
    the convolutions' inputs, doubling them would double the weights; the paper mentions neither.
    """

    def __init__(self, channels: int, v_dim: int, linear: Callable) -> None:
        super().__init__()
        self.bn = torch.nn.BatchNorm2d(channels, affine=False)
        self.gain = linear(v_dim, 2 * channels)
        self.shift = linear(v_dim, 2 * channels)

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        y = self.bn(x.float()).repeat(1, 2, 1, 1)  # [N, 2 C, H, W]
        gain, shift = 1 + self.gain(v)[:, :, None, None], self.shift(v)[:, :, None, None]  # [N, 2 C, 1, 1]
        return F.glu(torch.addcmul(shift, y, gain), dim=1).to(x.dtype)


class Attention(torch.nn.Module):
    """CBAM (Woo et al. 2018): channel attention (Eq. 2), and spatial attention (Eq. 3) where asked for.

    The MLP has max(C / 16, 1) hidden units and serves the mean and the maximum. The 7x7 convolution stands by itself:
    Eq. 3 has no BN behind it.
    """

    def __init__(self, channels: int, *, spatial: bool, linear: Callable, conv: Callable) -> None:
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
    """Fig. 5(a): BigBN, activation, nearest up-sampling, 3x3, BigBN, activation, 3x3, and the shortcut.

    [N, I, H, W], v [N, V] -> [N, C, 2 H, 2 W]. The shortcut is nearest up-sampling, behind a 1x1 convolution where
    channels change; without one where they do not: the paper's 3.54 M are six 3x3 convolutions and nothing else.
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
            layers = {'linear': partial(Linear, sn=sn), 'conv': partial(Conv2d, sn=sn)}
            return Attention(out_channels, spatial=cfg.attention == 'cbam', **layers)

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
        x = x if self.skip is None else self.skip(x, v)  # before up-sampling, with which it commutes
        return h + F.interpolate(x, scale_factor=2, mode='nearest')


@register_generator('gconv', config=GConvConfig)
class GConvGenerator(torch.nn.Module):
    """z [N, z_dim] and label [N, c_dim] -> image [N, C, H, W] float32 in (-1, 1), Table 1. It draws no noise.

    The first layer sees z; every BigBN and GConv sees v, the paper's "conditional BigBN and GConv". Convolutions have
    biases, which its counts leave out; BN cancels most of them while training.
    """

    def __init__(self, config: GConvConfig, spec: ImageSpec) -> None:
        super().__init__()
        res = spec.resolution
        self.z_dim, self.c_dim = config.z_dim, spec.label_dim
        self.img_resolution, self.img_channels = res, spec.channels
        if res < 8 or res & (res - 1):
            raise ConfigError(f'resolution={res}: gconv takes powers of two from 8 up; convert with dataset_tool.py')
        widths = widths_of(config, spec)
        sn = config.sn != 'none'
        self.base = spec.size_at(4)
        self.fc = Linear(self.z_dim, widths[0] * self.base[0] * self.base[1], sn=sn)
        self.blocks = torch.nn.ModuleList(
            GConvBlock(config, i, c, self.z_dim + self.c_dim, is_lowered(config, spec, 8 << k))
            for k, (i, c) in enumerate(itertools.pairwise(widths))
        )
        self.bn = torch.nn.BatchNorm2d(widths[-1])
        self.rgb = Conv2d(widths[-1], spec.channels, 3, padding=1, sn=sn)
        xavier_(self)

    def forward(
        self, z: torch.Tensor, c: torch.Tensor | None, *, truncation_psi: float = 1, noise_mode: str = 'random'
    ) -> torch.Tensor:
        """truncation_psi: factor on z; away from 1, BN's running statistics no longer fit. c: None without labels.

        noise_mode: 'random', 'const' or 'none', all the same here; ValueError for any other.
        """
        if noise_mode not in ('random', 'const', 'none'):
            raise ValueError(f"noise_mode '{noise_mode}': must be random, const or none")
        z = z.float() * truncation_psi
        v = z  # [N, V]
        if self.c_dim > 0:
            assert c is not None, f'labels [N, {self.c_dim}] are needed, got None'
            v = torch.cat([z, c.float()], dim=1)
        x = self.fc(z).unflatten(1, (-1, *self.base))  # [N, C, H, W] of the base
        for block in self.blocks:
            x = block(x, v)
        return torch.tanh(self.rgb(F.relu(self.bn(x.float()))))


@register_recipe('gconv', paper=PAPER, min_resolution=32)
def gconv(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Section 3.2: the columns of CIFAR (32x32), LSUN, CelebA and tiny-ImageNet (128x128), CelebA-HQ (256x256).

    Between and beyond, where the paper gives nothing, 64x64 takes the column of 128x128, and what is larger that of
    256x256. Iterations of G are counted in images shown to D: iterations x steps of D x batch. With labels, 128x128
    runs for the million iterations of tiny-ImageNet, the paper's only data with labels there. 256x256 has no spectral
    normalisation in G: the paper does not list CelebA-HQ with those that have it, and it shares CIFAR's optimiser.
    BN sees a micro-batch: what a run computes depends on `batch_gpu`, and the paper's is the whole batch.
    """
    res = facts.resolution
    if res <= 32:  # 50,000 iterations, all with falling learning rates
        column = {'batch': 64, 'g_batch_mult': 2, 'n_critic': 5, 'kimg': 16000, 'lr_decay_kimg': 16000}
    elif res <= 128:  # 300,000 or 1,000,000 iterations, the last 50,000 with falling learning rates
        column = {'batch': 32, 'kimg': 32000 if facts.label_dim > 0 else 9600, 'lr_decay_kimg': 1600}
    else:  # 100,000 iterations, likewise
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
        ema=EmaConfig(kimg=0),  # the paper mentions none: G itself is sampled and measured
        gpus=num_gpus,
        batch_gpu=column['batch'] // num_gpus,
        **column,
    )
