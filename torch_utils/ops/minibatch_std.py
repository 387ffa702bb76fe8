"""Minibatch standard deviation, appended to features. On CUDA 5 launches, 4 for the gradient, in place of 9 and 14.

Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", section 3. With G
samples per group, K numbers per feature and sample, and sums over the group for mu and v:

    mu = sum(x) / G,   v = sum((x - mu)^2) / G,   s = sqrt(v + 1e-8),   y = sum(s) / K
    dx = dy (x - mu) / (G K s)

Letters: N batch, C channels, H and W height and width, G samples per group, F features.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from dnnlib.errors import ConfigError
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor

EPS = 1e-8


def append_minibatch_std(
    x: torch.Tensor, group: int | None, num_features: int, fused: bool | None = None
) -> torch.Tensor:
    """Appends the standard deviation of features over groups of samples, as channels.

    Args:
        x: Features [N, C, H, W], any floating dtype.
        group: Samples per group, at most N; None: N. Sample i belongs to group i mod N / group.
        num_features: F, number of parts in which the channels are averaged, a divisor of C.
        fused: Whether to run with few launches, except in compiled graphs; None: on CUDA. Its result and gradient
            differ from PyTorch's operations by rounding; derivatives of higher order are PyTorch's.

    Returns:
        [N, C + F, H, W], dtype of `x`. Differentiable any number of times.

    Raises:
        ConfigError: If N is not a multiple of the group.
    """
    n, _, h, w = x.shape
    if n == 0:
        return torch.cat([x, x.new_zeros([0, num_features, h, w])], dim=1)
    g = n if group is None else min(group, n)
    if n % g:
        raise ConfigError(f'mbstd_group={group}: a micro-batch of {n} images cannot be divided into groups of {group}')
    if fused is None:
        fused = x.device.type == 'cuda'
    if not fused or torch.compiler.is_compiling():
        return _composite(x, g, num_features)
    y: torch.Tensor = _Append.apply(x, g, num_features)
    return y


def _composite(x: torch.Tensor, g: int, num_features: int) -> torch.Tensor:
    """Returns the result by PyTorch's operations."""
    n, c, h, w = x.shape
    y = x.reshape(g, n // g, num_features, c // num_features, h, w)  # [G, N/G, F, C/F, H, W]
    y = ((y - y.mean(dim=0)).square().mean(dim=0) + EPS).sqrt()  # [N/G, F, C/F, H, W]
    y = y.mean(dim=[2, 3, 4])  # [N/G, F]
    y = y.repeat(g, 1)[:, :, None, None].expand(-1, -1, h, w)  # [N, F, H, W]
    return torch.cat([x, y], dim=1)


class _Append(torch.autograd.Function):
    """x with the standard deviation of G samples in F features."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, g: int, num_features: int) -> torch.Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        v, mean = torch.var_mean(_grouped(wide, g, num_features), dim=0, correction=0)  # [N/G, F, C/F, H, W]
        s = v.add_(EPS).sqrt_()
        ctx.save_for_backward(x, mean, s)
        ctx.options = g, num_features
        return _append(x, s.mean(dim=[2, 3, 4]).to(x.dtype), g)

    @staticmethod
    def backward(ctx: Any, d: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x, mean, s = ctx.saved_tensors
        g, num_features = ctx.options
        if torch.is_grad_enabled():  # a second derivative may follow
            x = x.view_as(x)  # d may depend on x, and the gradient has no part of that
            (dx,) = torch.autograd.grad(_composite(x, g, num_features), x, d, create_graph=True)
            return dx, None, None
        c = x.shape[1]
        dy = d[:, c:].unflatten(0, (g, -1)).sum(dim=[0, 3, 4], dtype=s.dtype)  # [N/G, F]
        by_s = dy[:, :, None, None, None] / s  # [N/G, F, C/F, H, W]
        rest, away = _grouped(d[:, :c], g, num_features), _grouped(x, g, num_features) - mean
        dx = torch.addcmul(rest.to(s.dtype), away, by_s, value=1 / (g * s[0, 0].numel()))
        return dx.flatten(2, 3).flatten(0, 1).to(x.dtype), None, None


def _grouped(x: torch.Tensor, g: int, num_features: int) -> torch.Tensor:
    """Returns a view [G, N/G, F, C/F, H, W] of [N, C, H, W] in any memory format."""
    grouped: torch.Tensor = x.unflatten(1, (num_features, -1)).unflatten(0, (g, -1))
    return grouped


def _append(x: torch.Tensor, y: torch.Tensor, g: int) -> torch.Tensor:
    """Returns x [N, C, H, W], followed by y [N/G, F] in every group and pixel, by one concatenation."""
    n, _, h, w = x.shape
    if x.is_contiguous(memory_format=torch.channels_last):
        pixels = x.permute(0, 2, 3, 1).reshape(g, n // g, h * w, -1)
        out = torch.cat([pixels, y[:, None].expand(g, -1, h * w, -1)], dim=3)
        return out.view(n, h, w, -1).permute(0, 3, 1, 2)
    out = torch.cat([x.reshape(g, n // g, -1, h * w), y[:, :, None].expand(g, -1, -1, h * w)], dim=2)
    return out.view(n, -1, h, w)


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    def sample(name: str, n: int, group: int | None, num_features: int) -> Sample:
        inputs = {'x': sample_tensor([n, 4, 3, 2], device, dtype)}
        return Sample(name=name, inputs=inputs, options={'group': group, 'num_features': num_features})

    yield sample('two groups', n=4, group=2, num_features=1)
    yield sample('three groups, two features', n=6, group=2, num_features=2)
    yield sample('the whole batch', n=3, group=None, num_features=4)
    yield sample('empty batch', n=0, group=2, num_features=2)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    x = torch.randn(tuple(shape), device=device).to(dtype)
    yield Sample(name='one feature', inputs={'x': x}, options={'group': None, 'num_features': 1})


register_op(
    Op(
        'minibatch_std',
        functools.partial(append_minibatch_std, fused=True),
        _samples,
        reference=functools.partial(append_minibatch_std, fused=False),
        workloads=_workloads,
    )
)
