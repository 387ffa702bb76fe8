"""Bias and activation fused with the filter before a strided convolution: the specification and its kernel.

Differentiable any number of times, as `epilogue` is. Letters: N batch, C channels, H and W height and width, fh and fw
height and width of the filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from torch_utils.ops import dispatch
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.epilogue import SLOPES, correlated
from torch_utils.ops.registry import Op, Sample, register_op, sample_bias, sample_tensor
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d


def act_fir(
    x: torch.Tensor,
    bias: torch.Tensor | None,
    fir: torch.Tensor,
    padding: Sequence[int],
    act: str = 'linear',
    alpha: float | None = None,
    gain: float = 1,
    clamp: float | None = None,
    impl: str = 'auto',
) -> torch.Tensor:
    """Returns FIR(clip(gain * act(x + bias), -clamp, clamp)).

    Args:
        x: Features [N, C, H, W], any floating dtype. The kernels take channels last; in another memory format the two
            operations run one after the other, each with its own kernel.
        bias: Bias [C]; None: 0.
        fir: Filter of `upfirdn2d.setup_filter`, convolved. No gradient flows into it.
        padding: Padding of the filter, (x0, x1, y0, y1) pixels; negative values crop.
        act: 'linear' or 'lrelu'.
        alpha: Slope of 'lrelu' below zero, at least 0 (None: 0.2).
        gain: Factor on the activation, positive.
        clamp: Maximum magnitude before the filter, at least 0; None: unbounded.
        impl: 'ref', 'cpu', 'cuda', or 'auto' for the fastest available. On CUDA a filter other than 4 x 4 taps is a
            pass of its own.

    Returns:
        [N, C, H + y0 + y1 - fh + 1, W + x0 + x1 - fw + 1], dtype of `x`.

    Raises:
        ValueError: If an argument has a wrong shape or is out of range.
        ConfigError: If the implementation is not available.
    """
    if act not in SLOPES:
        raise ValueError(f"act_fir: act '{act}', known are {', '.join(SLOPES)}")
    slope = SLOPES[act] if alpha is None or act == 'linear' else alpha
    if slope < 0 or gain <= 0 or (clamp is not None and clamp < 0):
        raise ValueError(f'act_fir: needs {alpha=} and {clamp=} of at least 0 (or None), positive {gain=}')
    if dispatch.pick(impl, x) == 'ref' or not x.is_contiguous(memory_format=torch.channels_last):
        x = bias_act(x, bias, act=act, alpha=slope, gain=gain, clamp=clamp, impl=impl)
        return upfirdn2d(x, fir, padding=padding, impl=impl)
    bias = x.new_zeros(x.shape[1]) if bias is None else bias
    y: torch.Tensor = torch.ops.ganfoundry.act_fir(x, bias, correlated(fir), padding, slope, gain, clamp)
    return y


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    def sample(name: str, shape: Sequence[int], with_bias: bool, fir: torch.Tensor, **options: Any) -> Sample:
        inputs = {'x': sample_tensor(shape, device, dtype)}
        options = {'fir': fir.to(device), **options}
        if with_bias:
            inputs['bias'] = sample_bias(shape[1:2], device, torch.promote_types(dtype, torch.float32))
        else:
            options['bias'] = None
        return Sample(name=name, inputs=inputs, options=options)

    low_pass = setup_filter([1, 3, 3, 1])
    general = torch.tensor([[1.0, 2, -3], [0.5, 4, 1]])  # not an outer product
    five = setup_filter([1, 2, 3, 4, 5], separable=True)
    yield sample('lrelu clamp', [2, 3, 4, 3], True, low_pass, padding=[2] * 4, act='lrelu', gain=1.3, clamp=1.5)
    yield sample('no outer product', [2, 3, 4, 3], True, general, padding=[1, 1, 1, 0], act='lrelu', alpha=0.0)
    yield sample('one-dimensional taps, crop', [1, 2, 5, 4], False, five, padding=[2, 1, -1, 3])
    yield sample('one pixel', [1, 1, 1, 1], True, low_pass, padding=[2] * 4, act='lrelu')
    yield sample('empty batch', [0, 3, 4, 3], True, low_pass, padding=[2] * 4, act='lrelu', clamp=1.5)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    x = torch.randn(tuple(shape), device=device).to(dtype, memory_format=torch.channels_last)
    inputs = {'x': x, 'bias': torch.zeros(shape[1], device=device)}
    options = {'fir': setup_filter([1, 3, 3, 1]).to(device), 'padding': [2] * 4, 'act': 'lrelu', 'clamp': 256}
    yield Sample(name='lrelu clamp', inputs=inputs, options=options)


register_op(Op('act_fir', act_fir, _samples, operators=('act_fir', 'act_fir_backward'), workloads=_workloads))
