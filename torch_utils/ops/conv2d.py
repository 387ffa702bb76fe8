"""Convolutions with a cheap second derivative, for networks under R1 and path length regularization.

Values and gradients are those of `F.conv2d` and `F.conv_transpose2d`, bit for bit, except for gradients of weights in
bfloat16 on CPUs with AVX512-BF16, which have a faster kernel (`csrc/conv2d/weight_gradient.h`). PyTorch's second
derivative makes the gradient of the weight by a convolution whose kernel is a whole feature map; here it is an ordinary
gradient of a weight, as `csrc/conv2d/conv2d.cpp` explains. Differentiable any number of times.

Letters: N batch, I and O input and output channels, H and W height and width, k kernel size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torch_utils.ops import dispatch
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor


def conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Correlates with `weight`, as `F.conv2d` does.

    Args:
        x: Features [N, I, H, W], any floating dtype and memory format.
        weight: Kernel [O, I / groups, k, k], dtype of `x`.
        bias: Bias [O], dtype of `x`; None: 0.
        stride: Step between the kernel's places, one number or (y, x).
        padding: Zeros on every side, one number or (y, x).
        dilation: Step between the kernel's taps, one number or (y, x).
        groups: Number of groups of channels that do not mix.

    Returns:
        [N, O, H', W'] with H' = (H + 2 * padding - dilation * (k - 1) - 1) // stride + 1, dtype of `x`.
    """
    if not (torch.is_grad_enabled() and dispatch.has_operators(x)):
        return F.conv2d(x, weight, bias, _pair(stride), _pair(padding), _pair(dilation), groups)
    y: torch.Tensor = torch.ops.ganfoundry.convolution(
        x, _laid_out(weight, x), bias, _pair(stride), _pair(padding), _pair(dilation), False, (0, 0), groups
    )
    return y


def conv_transpose2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> torch.Tensor:
    """Runs the transpose of a convolution, as `F.conv_transpose2d` does.

    Args:
        x: Features [N, I, H, W], any floating dtype and memory format.
        weight: Kernel [I, O / groups, k, k], dtype of `x`.
        bias: Bias [O], dtype of `x`; None: 0.
        stride: Stride of the transposed convolution, one number or (y, x).
        padding: Its padding, which crops the result on every side, one number or (y, x).
        output_padding: Rows and columns added at the end, one number or (y, x), below `stride` or `dilation`.
        groups: Number of groups of channels that do not mix.
        dilation: Step between the kernel's taps, one number or (y, x).

    Returns:
        [N, O, H', W'] with H' = (H - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1.
    """
    if not (torch.is_grad_enabled() and dispatch.has_operators(x)):
        sizes = (_pair(stride), _pair(padding), _pair(output_padding))
        return F.conv_transpose2d(x, weight, bias, *sizes, groups, _pair(dilation))
    y: torch.Tensor = torch.ops.ganfoundry.convolution(
        x,
        _laid_out(weight, x),
        bias,
        _pair(stride),
        _pair(padding),
        _pair(dilation),
        True,
        _pair(output_padding),
        groups,
    )
    return y


def _laid_out(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Returns the weight in channels last if `x` is; otherwise each convolution with it, of every order, copies it."""
    is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return weight.contiguous(memory_format=torch.channels_last) if is_last else weight


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    y, x = (value, value) if isinstance(value, int) else value
    return y, x


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    def sample(name: str, shape: Sequence[int], weight: Sequence[int], bias: int = 0, **options: Any) -> Sample:
        inputs = {'x': sample_tensor(shape, device, dtype), 'weight': sample_tensor(weight, device, dtype, seed=1)}
        if bias:
            inputs['bias'] = sample_tensor([bias], device, dtype, seed=2)
        return Sample(name=name, inputs=inputs, options=options)

    yield sample('bias', [2, 2, 4, 3], [3, 2, 3, 3], bias=3, padding=1)
    yield sample('stride, odd size', [1, 2, 5, 7], [2, 2, 3, 3], stride=2, padding=1)
    yield sample('stride, even size', [1, 2, 4, 6], [3, 2, 3, 3], stride=2)
    yield sample('groups', [2, 4, 4, 4], [4, 2, 3, 3], bias=4, padding=1, groups=2)
    yield sample('dilation', [1, 1, 7, 6], [2, 1, 3, 3], padding=(2, 1), dilation=2)
    yield sample('one pixel', [2, 3, 1, 1], [2, 3, 1, 1])
    yield sample('empty batch', [0, 2, 4, 4], [3, 2, 3, 3], bias=3, padding=1)


def _transposed_samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    for sample in _samples(device, dtype):
        weight, groups = sample.inputs['weight'], sample.options.get('groups', 1)
        # From O, I / groups to I, O / groups.
        weight = torch.cat([part.transpose(0, 1) for part in weight.chunk(groups)]).contiguous()
        yield Sample(name=sample.name, inputs={**sample.inputs, 'weight': weight}, options=sample.options)
    inputs = {'x': sample_tensor([1, 2, 3, 2], device, dtype), 'weight': sample_tensor([2, 3, 3, 3], device, dtype, 1)}
    yield Sample(name='output padding', inputs=inputs, options={'stride': 2, 'padding': 1, 'output_padding': (1, 0)})


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    sizes = (tuple(shape), (shape[1], shape[1], 3, 3))
    x, w = (torch.randn(size, device=device).to(dtype, memory_format=torch.channels_last) for size in sizes)
    for name, stride in (('3x3', 1), ('3x3 stride 2', 2)):
        yield Sample(name=name, inputs={'x': x, 'weight': w}, options={'stride': stride, 'padding': 1})


register_op(Op('conv2d', conv2d, _samples, operators=('convolution',), workloads=_workloads))
register_op(Op('conv_transpose2d', conv_transpose2d, _transposed_samples, workloads=_workloads))
