"""Involution: every pixel sums its neighbourhood under a kernel of its own, shared by a group of channels.

Li et al. 2021, "Involution: Inverting the Inherence of Convolution for Visual Recognition", Eq. (4). With x and y zero
outside the image, g the group of channel c, and tap t at (dy, dx) from the kernel's centre:

    I(x, w)[n, c, h, w] = sum over t of w[n, g, t, h, w] x[n, c, h + dy, w + dx]
    A(y, w), K(y, x): the transposes of I in x and in w.

The three are bilinear and their transposes are again among them, which gives exact gradients of every order. Letters:
N batch, C channels, G groups, D = C / G channels of a group, K side of the kernel, H and W height and width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F


def involution(x: torch.Tensor, weight: torch.Tensor, impl: str = 'auto') -> torch.Tensor:
    """[N, C, H, W] under weights [N, G, K * K, H, W] of the same dtype, K odd -> [N, C, H, W]; zero padding."""
    if impl not in ('auto', 'ref'):
        raise ValueError(f'involution: impl={impl!r}, choose auto or ref')
    return _Involve.apply(x, weight)


def _taps(x: torch.Tensor, groups: int, num_taps: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Each tap's number and what it meets of x [N, C, H, W]: a view [N, G, D, H, W] of x, zero outside the image."""
    n, c, h, w = x.shape
    k = math.isqrt(num_taps)
    r = k // 2
    padded = F.pad(x, (r, r, r, r)).reshape(n, groups, c // groups, h + 2 * r, w + 2 * r)
    for tap in range(num_taps):
        i, j = divmod(tap, k)
        yield tap, padded[..., i : i + h, j : j + w]


class _Involve(torch.autograd.Function):
    """I(x, w)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        n, c, height, width = x.shape
        y = x.new_zeros([n, w.shape[1], c // w.shape[1], height, width])
        for tap, near in _taps(x, w.shape[1], w.shape[2]):
            y.addcmul_(w[:, :, tap, None], near)
        return y.reshape(x.shape)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, w = ctx.saved_tensors
        return _Adjoint.apply(dy, w), _Correlate.apply(dy, x, w.shape[1], w.shape[2])


class _Adjoint(torch.autograd.Function):
    """A(y, w)."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(y, w)
        n, c, height, width = y.shape
        groups, num_taps = w.shape[1], w.shape[2]
        # A tap's weights, mirrored about the centre and moved with their pixels, make I out of A.
        moved = torch.empty_like(w)
        for tap, near in _taps(w.flatten(1, 2), groups, num_taps):
            moved[:, :, tap] = near[:, :, num_taps - 1 - tap]
        return _Involve.apply(y, moved).reshape(n, c, height, width)

    @staticmethod
    def backward(ctx: Any, dx: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, w = ctx.saved_tensors
        return _Involve.apply(dx, w), _Correlate.apply(y, dx, w.shape[1], w.shape[2])


class _Correlate(torch.autograd.Function):
    """K(y, x)."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, x: torch.Tensor, groups: int, num_taps: int) -> torch.Tensor:
        ctx.save_for_backward(y, x)
        n, c, height, width = x.shape
        y = y.reshape(n, groups, c // groups, height, width)
        return torch.stack([(y * near).sum(dim=2) for _, near in _taps(x, groups, num_taps)], dim=2)

    @staticmethod
    def backward(ctx: Any, dw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        y, x = ctx.saved_tensors
        return _Involve.apply(x, dw), _Adjoint.apply(y, dw), None, None
