"""Layers with an equalized learning rate, and the precision of blocks.

Letters: N batch, I and O input and output features, H and W height and width, k kernel size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F

from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.conv2d_resample import act_conv2d_down, branched_conv2d_down, conv2d_resample
from torch_utils.ops.upfirdn2d import setup_filter
from training.networks.lowering import Preparable, Request

LRELU_GAIN = math.sqrt(2)  # keeps the variance of leaky ReLU's output
RESNET_GAIN = math.sqrt(0.5)  # keeps the variance of a sum of two branches
FIR_TAPS = (1, 3, 3, 1)  # low-pass filter at every change of resolution

Act = Literal['linear', 'lrelu']


class LowerableBlock(torch.nn.Module):
    """Block of layers that computes in one precision; its parameters are always float32.

    Args:
        lowered: whether `set_precision` applies to the block; otherwise it computes in float32.
    """

    def __init__(self, lowered: bool) -> None:
        super().__init__()
        self.lowered = lowered
        self.lowp_dtype = torch.float32

    @property
    def dtype(self) -> torch.dtype:
        """Dtype in which the block computes."""
        return self.lowp_dtype if self.lowered else torch.float32

    def lower(self, x: torch.Tensor) -> torch.Tensor:
        """Returns `x` [N, C, H, W] in this block's dtype and in channels-last format."""
        return x.to(dtype=self.dtype, memory_format=torch.channels_last)


def set_precision(net: torch.nn.Module, dtype: torch.dtype) -> None:
    """Sets the dtype of the lowered blocks of `net`: float32, bfloat16 or float16, else ValueError."""
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f'set_precision: float32, bfloat16 or float16, got {dtype}')
    for module in net.modules():
        if isinstance(module, LowerableBlock):
            module.lowp_dtype = dtype


def normalize_2nd_moment(x: torch.Tensor, eps: float = 1e-8) -> torch.Tensor:
    """Scales every row of `x` [N, I] to a mean square of 1 (PixelNorm of Karras et al. 2018)."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


class FullyConnected(Preparable):
    """Fully connected layer act(x W^T + b), [N, I] -> [N, O], with an equalized learning rate.

    Karras et al. 2018, section 4.1: weights are stored as N(0, 1) / lr_multiplier, and the constant of He's
    initialization is applied at run time.

    Args:
        in_features: I.
        out_features: O.
        act: 'linear' or 'lrelu', leaky ReLU with slope 0.2 and a gain of sqrt(2).
        lr_multiplier: learning rate relative to the other layers.
        bias_init: initial value of the bias.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        act: Act = 'linear',
        lr_multiplier: float = 1,
        bias_init: float = 0,
    ) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn([out_features, in_features]) / lr_multiplier)
        self.bias = torch.nn.Parameter(torch.full([out_features], float(bias_init)))
        self.act = act
        gain = LRELU_GAIN if act == 'lrelu' else 1
        self.weight_gain = gain * lr_multiplier / math.sqrt(in_features)
        self.bias_gain = gain * lr_multiplier

    def requests(self) -> Iterator[Request]:
        """Yields the weights to prepare."""
        yield Request(self, 'weight', self.weight_gain)
        if self.bias_gain != 1:
            yield Request(self, 'bias', self.bias_gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.ready:
            b = self.ready['bias'].weight if self.bias_gain != 1 else self.bias
            x = F.linear(x, self.ready['weight'].weight, b)  # [N, O]
            return F.leaky_relu(x, 0.2) if self.act == 'lrelu' else x
        b = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        # Scaling the input is cheaper than scaling the weight, which is larger.
        x = F.linear(x * self.weight_gain, self.weight, b)  # [N, O]
        return F.leaky_relu(x, 0.2) if self.act == 'lrelu' else x


class Conv2d(Preparable):
    """Convolution clamp(gain act(conv(x) + b)), [N, I, H, W] -> [N, O, H', W'], with an equalized learning rate.

    Args:
        in_channels: I.
        out_channels: O.
        kernel_size: k.
        act: 'linear' or 'lrelu'.
        bias: whether there is a bias.
        up: factor of upsampling before the convolution.
        down: factor of downsampling after the convolution.
        conv_clamp: largest magnitude of the result; None: unbounded.
        trainable: False stores weight and bias as buffers (Freeze-D).
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    resample_filter: torch.Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        act: Act = 'lrelu',
        bias: bool = True,
        up: int = 1,
        down: int = 1,
        conv_clamp: float | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        self.act = act
        self.up = up
        self.down = down
        self.conv_clamp = conv_clamp
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.act_gain = LRELU_GAIN if act == 'lrelu' else 1
        self.register_buffer('resample_filter', setup_filter(FIR_TAPS))
        self._add('weight', torch.randn([out_channels, in_channels, kernel_size, kernel_size]), trainable)
        self._add('bias', torch.zeros([out_channels]) if bias else None, trainable)

    def _add(self, name: str, value: torch.Tensor | None, trainable: bool) -> None:
        if trainable and value is not None:
            self.register_parameter(name, torch.nn.Parameter(value))
        else:
            self.register_buffer(name, value)

    def requests(self, dtype: torch.dtype, gain: float = 1) -> Iterator[Request]:
        """Yields the weights to prepare for inputs of a dtype and a gain of the result."""
        yield Request(self, 'weight', self.weight_gain * (self.act_gain * gain), dtype)
        if self.bias is not None:
            yield Request(self, 'bias', self.act_gain * gain)

    def forward(self, x: torch.Tensor, gain: float = 1) -> torch.Tensor:
        w, b, clamp = self._scaled(x.dtype, gain)
        x = conv2d_resample(x, w, self.resample_filter, self.up, self.down, w.shape[-1] // 2, flip_weight=self.up == 1)
        return bias_act(x, b, act=self.act, gain=1, clamp=clamp)

    def branch(self, x: torch.Tensor, gain: float = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns `x`, for another branch, and self(x, gain); the gradients of both are added in one pass.

        Args:
            x: Input, [N, I, H, W]; the layer is a 1x1 convolution that reduces its size.
            gain: Factor of the result.
        """
        w, b, clamp = self._scaled(x.dtype, gain)
        x, y = branched_conv2d_down(x, w, self.resample_filter, self.down)
        return x, bias_act(y, b, act=self.act, gain=1, clamp=clamp)

    def after(self, first: Conv2d, x: torch.Tensor, gain: float = 1) -> torch.Tensor:
        """Returns self(first(x), gain); one pass computes the activation of `first` and the filter of this layer.

        Args:
            first: Layer before this one.
            x: Input of `first`, [N, C, H, W].
            gain: Factor of the result.
        """
        w, b, clamp = first._scaled(x.dtype, 1)
        f, k = first.resample_filter, w.shape[-1]
        x = conv2d_resample(x, w, f, first.up, first.down, k // 2, flip_weight=first.up == 1)
        w, b2, clamp2 = self._scaled(x.dtype, gain)
        x = act_conv2d_down(x, b, w, self.resample_filter, self.down, w.shape[-1] // 2, first.act, clamp)
        return bias_act(x, b2, act=self.act, gain=1, clamp=clamp2)

    def _scaled(self, dtype: torch.dtype, gain: float) -> tuple[torch.Tensor, torch.Tensor | None, float | None]:
        """Returns weight [O, I, k, k], bias [O] and clamp, which include the gains: lrelu(g x) = g lrelu(x)."""
        g = self.act_gain * gain
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        if self.ready:
            return self.ready['weight'].weight, None if self.bias is None else self.ready['bias'].weight, clamp
        weight = (self.weight * (self.weight_gain * g)).to(dtype)
        return weight, None if self.bias is None else self.bias * g, clamp
