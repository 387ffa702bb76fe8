"""Involution: a separate kernel for every pixel, shared by a group of channels. The specification in plain PyTorch.

Li et al. 2021, "Involution: Inverting the Inherence of Convolution for Visual Recognition", Eqs. (4) and (5). With x
and y zero outside the image, g = c // (C / G) and the tap k at (dy, dx) from the kernel's center:

    I(x, w)[n, c, h, w] = sum over k of w[n, g, k, h, w] * x[n, c, h + dy, w + dx]
    A(y, w)[n, c, h, w] = sum over k of w[n, g, k, h - dy, w - dx] * y[n, c, h - dy, w - dx]
    K(y, x)[n, g, k, h, w] = sum over the group's c of y[n, c, h, w] * x[n, c, h + dy, w + dx]

A is the transpose of I in x, K its transpose in w. All three are bilinear, and the transposes of each are among them:
the inputs alone give exact gradients of every order.

Letters: N batch, C channels, G groups, K side of the kernel, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torch_utils.ops import dispatch
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor


def involution(x: torch.Tensor, weight: torch.Tensor, impl: str = 'auto') -> torch.Tensor:
    """Sums each pixel's K x K neighborhood, zero outside the image, with that pixel's own weights.

    Args:
        x: Features [N, C, H, W], any floating dtype and memory format. The CPU's kernels are fastest with NCHW; those
            of CUDA read and write NCHW and NHWC without a copy, features and weights.
        weight: Weights [N, G, K * K, H, W], dtype of `x`; K is odd, G divides C. Tap i * K + j belongs to x[h + i - K
            // 2, w + j - K // 2], and channel c takes the weights of group c // (C / G).
        impl: 'ref', 'cpu', 'cuda', or 'auto' for the fastest available.

    Returns:
        [N, C, H, W], dtype of `x`; float16 and bfloat16 are summed in float32. Differentiable any number of times in
        both.

    Raises:
        ValueError: If an argument has a wrong shape, or the dtypes differ.
        ConfigError: If the implementation is not available.
    """
    _check(x, weight)
    is_native = dispatch.pick(impl, x) != 'ref'
    y: torch.Tensor = torch.ops.ganfoundry.involution(x, weight) if is_native else _Involution.apply(x, weight)
    return y


def kernel_size(num_taps: int) -> int:
    """Returns the odd K with K * K = num_taps."""
    size = 1
    while size * size < num_taps:
        size += 2
    if size * size != num_taps:
        raise ValueError(f'involution: weight.shape[2] must be K * K for an odd K (1, 9, 25, 49 ...), got {num_taps}')
    return size


class _Involution(torch.autograd.Function):
    """I(x, w)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return _involve(x, w)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        x, w = ctx.saved_tensors
        needs_x, needs_w = ctx.needs_input_grad
        return (
            _Adjoint.apply(dy, w) if needs_x else None,
            _Correlation.apply(dy, x, w.shape[1], w.shape[2]) if needs_w else None,
        )


class _Adjoint(torch.autograd.Function):
    """A(y, w): the gradient of I in x."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(y, w)
        return _transpose(y, w)

    @staticmethod
    def backward(ctx: Any, dx: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        y, w = ctx.saved_tensors
        needs_y, needs_w = ctx.needs_input_grad
        return (
            _Involution.apply(dx, w) if needs_y else None,
            _Correlation.apply(y, dx, w.shape[1], w.shape[2]) if needs_w else None,
        )


class _Correlation(torch.autograd.Function):
    """K(y, x): the gradient of I in w, for G groups and K * K taps."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, x: torch.Tensor, num_groups: int, num_taps: int) -> torch.Tensor:
        ctx.save_for_backward(y, x)
        return _correlate(y, x, num_groups, num_taps)

    @staticmethod
    def backward(ctx: Any, dw: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        y, x = ctx.saved_tensors
        needs_y, needs_x, *_ = ctx.needs_input_grad
        return _Involution.apply(x, dw) if needs_y else None, _Adjoint.apply(y, dw) if needs_x else None, None, None


def _involve(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Returns I(x, w).

    One pass over the image per tap needs memory for one padded copy of x; unfolding takes K * K copies.
    """
    n, c, h, width = x.shape
    num_groups, side = w.shape[1], kernel_size(w.shape[2])
    padded = _pad(_grouped(_promote(x), num_groups), side // 2)  # [N, G, C / G, H + K - 1, W + K - 1]
    w = _promote(w)
    y = x.new_zeros([n, num_groups, c // num_groups, h, width], dtype=w.dtype)
    for k in range(side * side):
        i, j = divmod(k, side)
        y.addcmul_(w[:, :, k, None], padded[..., i : i + h, j : j + width])
    return y.flatten(1, 2).to(x.dtype).contiguous(memory_format=_format_of(x))


def _transpose(y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Returns A(y, w)."""
    n, c, h, width = y.shape
    num_groups, side = w.shape[1], kernel_size(w.shape[2])
    w, grouped = _promote(w), _grouped(_promote(y), num_groups)
    p = side // 2
    x = y.new_zeros([n, num_groups, c // num_groups, h + 2 * p, width + 2 * p], dtype=w.dtype)
    for k in range(side * side):
        i, j = divmod(k, side)
        x[..., i : i + h, j : j + width].addcmul_(w[:, :, k, None], grouped)
    x = x[..., p : p + h, p : p + width].flatten(1, 2)
    return x.to(y.dtype).contiguous(memory_format=_format_of(y))


def _correlate(y: torch.Tensor, x: torch.Tensor, num_groups: int, num_taps: int) -> torch.Tensor:
    """Returns K(y, x).

    Args:
        y: Features [N, C, H, W].
        x: Features [N, C, H, W].
        num_groups: G.
        num_taps: K * K.

    Returns:
        [N, G, K * K, H, W], dtype of `y`.
    """
    side, (h, width) = kernel_size(num_taps), x.shape[2:]
    grouped = _grouped(_promote(y), num_groups)  # [N, G, C / G, H, W]
    padded = _pad(_grouped(_promote(x), num_groups), side // 2)
    shifted = (padded[..., i : i + h, j : j + width] for i in range(side) for j in range(side))
    return torch.stack([(grouped * z).sum(2) for z in shifted], dim=2).to(y.dtype)


def _promote(x: torch.Tensor) -> torch.Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _grouped(x: torch.Tensor, num_groups: int) -> torch.Tensor:
    grouped: torch.Tensor = x.unflatten(1, (num_groups, x.shape[1] // num_groups))  # [N, G, C / G, H, W]
    return grouped


def _pad(x: torch.Tensor, p: int) -> torch.Tensor:
    return F.pad(x, [p, p, p, p]) if p else x


def _format_of(x: torch.Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _check(x: torch.Tensor, weight: torch.Tensor) -> None:
    """Raises ValueError if the shapes or dtypes do not fit together."""
    if x.ndim != 4 or weight.ndim != 5:
        raise ValueError(
            f'involution: expected x [N, C, H, W] and weight [N, G, K * K, H, W], '
            f'got {list(x.shape)} and {list(weight.shape)}'
        )
    kernel_size(weight.shape[2])
    n, c, h, w = x.shape
    if (weight.shape[0], weight.shape[3], weight.shape[4]) != (n, h, w):
        raise ValueError(
            f'involution: weight must be [{n}, G, K * K, {h}, {w}] for x {list(x.shape)}, got {list(weight.shape)}'
        )
    if weight.shape[1] < 1 or c % weight.shape[1]:
        raise ValueError(f'involution: the groups must divide the {c} channels of x, got {weight.shape[1]}')
    if x.dtype != weight.dtype:
        raise ValueError(f'involution: weight must have the dtype of x, {x.dtype}, got {weight.dtype}')


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    def sample(name: str, shape: Sequence[int], num_groups: int, side: int) -> Sample:
        n, _, h, w = shape
        weight = sample_tensor([n, num_groups, side**2, h, w], device, dtype, seed=1)
        return Sample(name=name, inputs={'x': sample_tensor(shape, device, dtype), 'weight': weight}, options={})

    yield sample('3x3, two groups', [2, 4, 3, 3], num_groups=2, side=3)
    yield sample('1x1', [2, 4, 3, 4], num_groups=4, side=1)
    yield sample('kernel larger than the image', [1, 2, 2, 3], num_groups=1, side=5)
    yield sample('one pixel', [1, 2, 1, 1], num_groups=1, side=3)
    yield sample('empty batch', [0, 4, 3, 5], num_groups=2, side=3)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    n, c, h, w = shape
    weight = torch.randn(n, max(c // 16, 1), 9, h, w, device=device).to(dtype)
    inputs = {'x': torch.randn(n, c, h, w, device=device).to(dtype), 'weight': weight}
    yield Sample(name='3x3', inputs=inputs, options={})


register_op(
    Op(
        'involution',
        involution,
        _samples,
        operators=('involution', 'involution_adjoint', 'involution_correlation'),
        workloads=_workloads,
    )
)
