"""Generative convolution (GConv): each sample has its own kernels, which are combinations of shared ones.

Park and Shin, Generative Convolution Layer for Image Generation, arXiv 2111.15171, section 3.1.

Letters: N batch, I and O input and output channels, H and W height and width, k kernel size, V width of the vector v
that selects kernels (z; with labels [z, one-hot]; in StyleGAN2's family w), x_m mean of X over H and W. The shared
kernels are K [O, I, k, k]. W_s [O, I + V] and W_L [O, O] are stored as PyTorch's linear layers, as the transposes of
the paper's.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F

from extensions.layers import spectral_norm
from torch_utils.ops.conv2d import conv2d
from torch_utils.ops.epilogue import synthesis_epilogue
from torch_utils.ops.folded_conv import up_conv2d
from torch_utils.ops.modulated_conv2d import modulated_conv2d
from training.networks.layers import LRELU_GAIN
from training.networks.synthesis import NoiseMode, SynthesisLayer

Form = Literal['diagram', 'bmm']


def selection_input(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Returns [x_m, v], the input of the selection S of Eq. (5).

    Args:
        x: [N, I, H, W], any floating dtype.
        v: [N, V] float32 or float64; the result has its dtype.

    Returns:
        [N, I + V].
    """
    return torch.cat([x.mean([2, 3], dtype=v.dtype), v], dim=1)


def recombine(
    y: torch.Tensor, s: torch.Tensor, w_l: torch.Tensor, bias: torch.Tensor | None = None, form: Form | None = None
) -> torch.Tensor:
    """Computes Eq. (8) from Y = X * K: X * K + X * K Diag(S) W_L = Y + (Y Diag(S)) W_L, plus bias.

    No kernel is built per sample. 'diagram' is the paper's Fig. 3: scale, 1x1 convolution, sum. 'bmm' multiplies Y by
    one matrix per sample, I + Diag(S) W_L, of O x O, which saves one pass over the map and one stored map.

    Args:
        y: [N, O, H, W], any floating dtype; the result has it too.
        s: [N, O], in (0, 1).
        w_l: [O, O].
        bias: [O], added once.
        form: 'diagram' or 'bmm'; None selects 'bmm' if the matrix is no larger than the map, O <= H W.
    """
    n, c, h, w = y.shape
    form = form or ('bmm' if c <= h * w else 'diagram')
    b = None if bias is None else bias.to(y.dtype)
    if form == 'diagram':
        return y + conv2d(y * s.to(y.dtype)[:, :, None, None], w_l.to(y.dtype)[:, :, None, None], b)
    m = torch.eye(c, dtype=w_l.dtype, device=w_l.device) + w_l * s[:, None, :]  # [N, O, O]
    m = m.to(y.dtype).transpose(1, 2)
    y = y.permute(0, 2, 3, 1).reshape(n, h * w, c)  # [N, H W, O]
    y = torch.bmm(y, m) if b is None else torch.baddbmm(b, y, m)
    return y.reshape(n, h, w, c).permute(0, 3, 1, 2)  # [N, O, H, W]


def xavier_(net: torch.nn.Module) -> None:
    """Initializes convolutions and linear layers of `net`: weights Xavier-uniform with gain 1, biases zero."""
    for module in net.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)


class VConv2d(torch.nn.Module):
    """Ordinary convolution X * K + b with the interface of GConv, [N, I, H, W] -> [N, O, H up, W up].

    Args:
        in_channels: I.
        out_channels: O.
        kernel_size: odd side of the kernel.
        up: 2 repeats every pixel along both axes before a 3x3 convolution, 1 does not.
        sn: whether the weight is spectrally normalized.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, up: int = 1, sn: bool = False
    ) -> None:
        super().__init__()
        assert kernel_size % 2 == 1, 'the size is kept by padding k // 2'
        assert up == 1 or (up, kernel_size) == (2, 3), 'only 3x3 doubles the size'
        self.up = up
        self.conv = spectral_norm.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, sn=sn)
        xavier_(self.conv)

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Returns X * K + b in the dtype of `x` [N, I, H, W]. v [N, V] is not used."""
        return self.convolve(x, self.conv.cast_bias(x.dtype))

    def convolve(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Returns X * K + bias in the dtype of `x`, which `bias` has too."""
        w = self.conv.normalized_weight().to(x.dtype)
        return up_conv2d(x, w, bias) if self.up == 2 else conv2d(x, w, bias, padding=w.shape[-1] // 2)


class GConv2d(VConv2d):
    """GConv, Eq. (5) to (8): X * K + X * K Diag(S) W_L + b, for convolutions that keep or double the size.

    With kernel_size 1 on [N, I, 1, 1], it is the fully connected GConv of the paper's Fig. 4. x_m is the mean of the
    convolution's input; repeating pixels does not change it. W_s has no bias, as in Eq. (5). The bias is added once; in
    both terms of Eq. (8) it would also pass through W_L.

    Args:
        in_channels: I.
        out_channels: O.
        kernel_size: odd side of the kernel.
        v_dim: V.
        up: as in `VConv2d`.
        sn: whether K, W_s and W_L are spectrally normalized, each separately. The alternative, K + K Diag(S) W_L,
        differs
            for every sample.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        v_dim: int,
        up: int = 1,
        sn: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, up=up, sn=sn)
        self.select = spectral_norm.Linear(in_channels + v_dim, out_channels, bias=False, sn=sn)  # W_s
        self.combine = spectral_norm.Conv2d(out_channels, out_channels, 1, bias=False, sn=sn, lowered=False)  # W_L
        xavier_(self.select)
        xavier_(self.combine)

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Returns Eq. (8) plus bias in the dtype of `x` [N, I, H, W]. v: [N, V] float32."""
        y, s, bias = self.convolve(x, None), self.selection(x, v), self.conv.cast_bias(x.dtype)
        return recombine(y, s, self.combination(), bias)  # Eq. (8)

    def selection(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Returns S [N, O] of Eq. (5), in (0, 1)."""
        return torch.sigmoid(self.select(selection_input(x, v)))

    def combination(self) -> torch.Tensor:
        """Returns W_L [O, O], normalized if `sn` is set."""
        return self.combine.normalized_weight().flatten(1)


class GConvSynthesisLayer(SynthesisLayer):
    """StyleGAN2's layer with GConv: modulated convolution, Eq. (8), noise, bias, leaky ReLU.

    Eq. (8) holds for every Y = X * K that is linear in X with a kernel per output channel. Here K is the modulated,
    demodulated kernel. The filter of an upsampling layer treats all channels equally and commutes with W_L. This
    project's choices: v is w; x_m is computed before modulation, which belongs to the kernel; learning rates are
    equalized; W_L starts ten times smaller than the other weights, since its result is not demodulated: at full scale,
    with S near 1/2, every layer would increase the variance by a quarter. With W_L = 0, this is StyleGAN2's layer
    except for the rounding of fused kernels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        size: tuple[int, int],
        up: int = 1,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, w_dim=w_dim, size=size, up=up, conv_clamp=conv_clamp)
        self.select = torch.nn.Parameter(torch.randn([out_channels, in_channels + w_dim]))  # W_s
        self.combine = torch.nn.Parameter(torch.randn([out_channels, out_channels]) * 0.1)  # W_L
        self.select_gain = 1 / math.sqrt(in_channels + w_dim)
        self.combine_gain = 1 / math.sqrt(out_channels)

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise_mode: NoiseMode, gain: float = 1) -> torch.Tensor:
        g = LRELU_GAIN * gain  # lrelu(g x) = g lrelu(x): applied before the activation, the gain needs no pass
        s = self.selection(x, w)  # [N, O]
        y = modulated_conv2d(
            x,
            self.weight,
            self.affine(w),
            up=self.up,
            padding=self.weight.shape[-1] // 2,
            resample_filter=self.resample_filter,
            flip_weight=self.up == 1,
            gain=g,
            lowered=self.ready.get('weight'),
        )
        y = recombine(y, s, self.combination())  # Eq. (8)
        noise = self._noise(y.shape[0], noise_mode)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return synthesis_epilogue(
            y, noise=None if noise is None else noise * g, bias=self.bias * g, act='lrelu', clamp=clamp
        )

    def selection(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Returns S [N, O] of Eq. (5), in (0, 1)."""
        return torch.sigmoid(F.linear(selection_input(x, w) * self.select_gain, self.select))

    def combination(self) -> torch.Tensor:
        """Returns W_L [O, O]."""
        return self.combine * self.combine_gain
