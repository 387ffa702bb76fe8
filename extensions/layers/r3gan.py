"""Layers, residual blocks and stages of R3GAN (Huang et al. 2024, appendix B): no normalization, no output gain.

A stage is a change of resolution, called transition, and residual blocks of one width. In G the transition comes first,
in D last. The 4x4 stage of G makes its features from a learned basis, and that of D reduces them to a vector. All
weights are float32 and cast to the dtype of the layer's input.

Letters: N batch, C channels, I and O input and output channels, V width of the input vector, H and W height and width,
h and w those of the base (4x4 for square images), e expansion, L residual blocks of the network, k kernel size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F

from extensions.layers.spectral_norm import Conv2d, Linear
from torch_utils.ops.upfirdn2d import downsample2d, setup_filter, upsample2d
from training.networks.layers import LowerableBlock

SLOPE = 0.2  # slope of leaky ReLU
ACT_GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through leaky ReLU (He et al. 2015)
TAPS = (1, 2, 1)  # low-pass filter at every change of resolution
CONVS = 3  # convolutions in the branch of a block

Layer = TypeVar('Layer', Conv2d, Linear)


def resample_filter(taps: Sequence[float] = TAPS) -> torch.Tensor:
    """Returns the filter of a resampling by 2: `taps` convolved with (1, 1), as an outer product, float32 [k, k]."""
    padded = torch.tensor([0.0, *taps, 0.0])
    return setup_filter(padded[1:] + padded[:-1])


def conv(in_channels: int, out_channels: int, kernel_size: int, *, gain: float, groups: int = 1) -> Conv2d:
    """Returns a convolution without bias that keeps the size, with weights N(0, gain^2 / fan_in).

    Args:
        in_channels: I.
        out_channels: O.
        kernel_size: k, odd.
        gain: Factor of the initial standard deviation.
        groups: Number of groups, a divisor of I and of O.
    """
    layer = Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    layer.groups = groups
    layer.weight = torch.nn.Parameter(torch.empty([out_channels, in_channels // groups, kernel_size, kernel_size]))
    return normal_(layer, gain)


def linear(in_features: int, out_features: int, *, gain: float = 1) -> Linear:
    """Returns a linear layer without bias with weights N(0, gain^2 / I)."""
    return normal_(Linear(in_features, out_features, bias=False), gain)


def normal_(layer: Layer, gain: float) -> Layer:
    """Draws the weight of a layer from N(0, gain^2 / fan_in) and returns the layer."""
    torch.nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    return layer


class BiasedActivation(torch.nn.Module):
    """lrelu(x + b), [N, C, H, W] -> same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros([channels]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(x + self.bias.to(x.dtype)[:, None, None], SLOPE)


class ResidualBlock(torch.nn.Module):
    """x + conv3(act2(conv2(act1(conv1(x))))), [N, C, H, W] -> same shape; conv2 is a grouped 3x3 convolution.

    Initialization in the manner of Fixup (Zhang et al. 2019): conv3 is zero, and the gain of the other two is
    ACT_GAIN L^(-1 / (2 * 3 - 2)), so that the depth does not change the size of the first updates.

    Args:
        channels: C.
        expansion: e; the branch has e C channels.
        group_channels: input channels of a group of conv2, a divisor of e C.
        num_blocks: L, over all stages of the network.
    """

    def __init__(self, channels: int, expansion: int, group_channels: int, num_blocks: int) -> None:
        super().__init__()
        inner = expansion * channels
        gain = ACT_GAIN * num_blocks ** (-1 / (2 * CONVS - 2))
        self.conv1 = conv(channels, inner, 1, gain=gain)
        self.act1 = BiasedActivation(inner)
        self.conv2 = conv(inner, inner, 3, gain=gain, groups=inner // group_channels)
        self.act2 = BiasedActivation(inner)
        self.conv3 = conv(inner, channels, 1, gain=0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act1(self.conv1(x))  # [N, e C, H, W]
        y = self.act2(self.conv2(y))  # [N, e C, H, W]
        return x + self.conv3(y)


class Resample(torch.nn.Module):
    """Change of resolution by a factor of 2, and a 1x1 convolution if the width changes.

    G: up(conv(x)), [N, I, H, W] -> [N, O, 2 H, 2 W]. D: conv(down(x)), [N, I, H, W] -> [N, O, H / 2, W / 2]. The
    convolution is always at the lower resolution.

    Args:
        in_channels: I.
        out_channels: O.
        up: whether the resolution doubles.
    """

    resample_filter: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.register_buffer('resample_filter', resample_filter())
        self.conv = conv(in_channels, out_channels, 1, gain=1) if in_channels != out_channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.up:
            return upsample2d(x if self.conv is None else self.conv(x), self.resample_filter)
        x = downsample2d(x, self.resample_filter)
        return x if self.conv is None else self.conv(x)


class GenerativeBasis(torch.nn.Module):
    """Linear(v) times a learned basis per channel, [N, V] -> [N, C, h, w].

    Args:
        in_features: V.
        channels: C.
        base: (h, w).
    """

    def __init__(self, in_features: int, channels: int, base: tuple[int, int]) -> None:
        super().__init__()
        self.basis = torch.nn.Parameter(torch.randn([channels, *base]))
        self.linear = linear(in_features, channels)

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return self.basis * self.linear(v)[:, :, None, None]


class DiscriminativeBasis(torch.nn.Module):
    """Product with a learned basis per channel, summed over pixels, then Linear: [N, C, h, w] -> [N, O].

    Args:
        channels: C.
        out_features: O.
        base: (h, w).
    """

    def __init__(self, channels: int, out_features: int, base: tuple[int, int]) -> None:
        super().__init__()
        self.basis = torch.nn.Parameter(torch.randn([channels, *base]) / math.sqrt(math.prod(base)))
        self.linear = linear(channels, out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear((x * self.basis).sum(dim=(2, 3)))


class Stage(LowerableBlock):
    """Transition and residual blocks, in one precision.

    Args:
        transition: module that changes the resolution.
        blocks: residual blocks.
        transition_first: whether the transition precedes the blocks, as in G.
        lowered: whether the stage computes in the run's lower precision.
    """

    def __init__(
        self, transition: torch.nn.Module, blocks: Sequence[ResidualBlock], *, transition_first: bool, lowered: bool
    ) -> None:
        super().__init__(lowered)
        self.transition_first = transition_first
        self.transition = transition
        self.blocks = torch.nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lower(x) if x.ndim == 4 else x  # the input vector of G is float32, as its first stage
        if self.transition_first:
            return self.blocks(self.transition(x))
        return self.transition(self.blocks(x))
