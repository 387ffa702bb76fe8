"""Convolutions next to a change of resolution, in plain PyTorch.

Letters: N batch, I and O input and output channels, H and W height and width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def up_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, fold: bool | None = None
) -> torch.Tensor:
    """[N, I, H, W] -> [N, O, 2 H, 2 W]: every pixel twice along both axes, then 3x3 with padding 1. fold: ignored."""
    return F.conv2d(F.interpolate(x, scale_factor=2, mode='nearest'), weight, bias, padding=1)


def down_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, fold: bool | None = None
) -> torch.Tensor:
    """[N, I, H, W] -> [N, O, H/2, W/2]: 3x3 with padding 1, then the mean of 2x2. fold: ignored."""
    return F.avg_pool2d(F.conv2d(x, weight, bias, padding=1), 2)
