"""3x3 convolution after nearest up-sampling. Letters: N batch, I and O input and output channels, H and W size."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def up_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, fold: bool | None = None
) -> torch.Tensor:
    """Double every pixel of `x` [N, I, H, W], then convolve with `weight` [O, I, 3, 3], padding 1: [N, O, 2H, 2W].

    bias: [O], or None. fold: None and False compute it as said; ValueError for True.
    """
    if fold:
        raise ValueError('up_conv2d: fold=True is not implemented; None or False')
    x = F.interpolate(x, scale_factor=2, mode='nearest')  # [N, I, 2 H, 2 W]
    return F.conv2d(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype), padding=1)
