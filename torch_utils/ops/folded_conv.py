"""3x3 convolution after nearest up-sampling and before average pooling, each in a plain form and folded into one 4x4.

The folded form multiplies 4 times for an output pixel instead of 9 (before pooling: 16 instead of 36), and no feature
map of four times the size stands in between. It is exact, at the borders too: a zero-padded image stays one when its
pixels are doubled. Ordinary differentiable operations, hence gradients of every order.

Letters: N batch, I and O input and output channels, H and W height and width.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

Op = Literal['up', 'down']

# Which form is the faster, forward with backward, by device type and direction: python bench/folded.py
FOLDS: dict[str, dict[Op, bool]] = {
    'cpu': {'up': True, 'down': True},
    'cuda': {'up': True, 'down': True},
}


def folds(op: Op, x: torch.Tensor) -> bool:
    """Whether `fold=None` folds: what `bench/folded.py` measured for the device of `x`, and yes on any other device."""
    return FOLDS.get(x.device.type, FOLDS['cuda'])[op]


def up_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, fold: bool | None = None
) -> torch.Tensor:
    """Double every pixel, then convolve with `weight`, padding 1.

    Args:
        x: [N, I, H, W].
        weight: [O, I, 3, 3], folded in float32 (a float64 one in float64) and then cast to the dtype of `x`.
        bias: [O], or None.
        fold: True computes one transposed convolution of stride 2; None takes the form that `folds` names.

    Returns:
        [N, O, 2 * H, 2 * W], dtype of `x`.
    """
    assert weight.shape[2:] == (3, 3)
    bias = None if bias is None else bias.to(x.dtype)
    if folds('up', x) if fold is None else fold:
        # y[2i + a] sees x[i - 1 + a] and x[i + a] alone: a transposed convolution scatters, hence the flip.
        kernel = _folded(weight).flip([2, 3]).transpose(0, 1).to(x.dtype)  # [I, O, 4, 4]
        return F.conv_transpose2d(x, kernel, bias, stride=2, padding=1)
    x = F.interpolate(x, scale_factor=2, mode='nearest')  # [N, I, 2 * H, 2 * W]
    return F.conv2d(x, weight.to(x.dtype), bias, padding=1)


def down_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, fold: bool | None = None
) -> torch.Tensor:
    """Convolve with `weight`, padding 1, then average 2x2 pixels.

    Args:
        x: [N, I, H, W].
        weight: [O, I, 3, 3], folded in float32 (a float64 one in float64) and then cast to the dtype of `x`.
        bias: [O], or None.
        fold: True computes one convolution of stride 2; None takes the form that `folds` names.

    Returns:
        [N, O, H / 2, W / 2], dtype of `x`.

    Raises:
        ValueError: H or W is odd; pooling would leave a row or column out.
    """
    assert weight.shape[2:] == (3, 3)
    if x.shape[2] % 2 or x.shape[3] % 2:
        raise ValueError(f'down_conv2d: height and width must be even, got {list(x.shape)}')
    bias = None if bias is None else bias.to(x.dtype)
    if folds('down', x) if fold is None else fold:
        kernel = (_folded(weight) / 4).to(x.dtype)  # [O, I, 4, 4]
        return F.conv2d(x, kernel, bias, stride=2, padding=1)
    y = F.conv2d(x, weight.to(x.dtype), bias, padding=1)  # [N, O, H, W]
    return F.avg_pool2d(y, 2)


def _folded(weight: torch.Tensor) -> torch.Tensor:
    """`weight` [O, I, 3, 3] convolved with a box of 2x2 ones: [O, I, 4, 4], in float32 or wider."""
    w = weight.to(torch.promote_types(weight.dtype, torch.float32))
    w = F.pad(w, [1, 0, 0, 0]) + F.pad(w, [0, 1, 0, 0])  # [O, I, 3, 4]
    return F.pad(w, [0, 0, 1, 0]) + F.pad(w, [0, 0, 0, 1])
