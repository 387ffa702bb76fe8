"""The steps after a synthesis layer's convolution in one pass over the features: the specification and its kernel.

Differentiable any number of times. A gradient is one pass, too, and on a CPU the gradient of the gradient; on CUDA and
in higher derivatives, the operations run one by one. Letters: N batch, C channels, H and W height and width, primes for
sizes after the filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from torch_utils.ops import dispatch
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.registry import Op, Sample, register_op, sample_bias, sample_tensor
from torch_utils.ops.upfirdn2d import prepared_filter, setup_filter, upfirdn2d

SLOPES = {'linear': 1.0, 'lrelu': 0.2}


def synthesis_epilogue(
    x: torch.Tensor,
    fir: torch.Tensor | None = None,
    padding: Sequence[int] = (0, 0, 0, 0),
    demod: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    act: str = 'linear',
    alpha: float | None = None,
    gain: float = 1,
    clamp: float | None = None,
    fir_gain: float = 1,
    impl: str = 'auto',
) -> torch.Tensor:
    """Returns clip(gain * act(demod * FIR(x) + noise + bias), -clamp, clamp).

    Args:
        x: Features [N, C, H, W], any floating dtype. The kernels take channels last; in another memory format the
            operations run one by one, each with its own kernel.
        fir: Filter of `upfirdn2d.setup_filter`, convolved with `x`; None: no filter. No gradient flows into it.
        padding: Padding of the filter, (x0, x1, y0, y1) pixels; negative values crop.
        demod: Factor [N, C]; None: 1.
        noise: Noise [N, 1, H', W'] or [H', W'], the same for every channel; None: 0.
        bias: Bias [C]; None: 0.
        act: 'linear' or 'lrelu'.
        alpha: Slope of 'lrelu' below zero, at least 0 (None: 0.2).
        gain: Factor on the activation, positive.
        clamp: Maximum magnitude of the result, at least 0; None: unbounded.
        fir_gain: Factor on the filter.
        impl: 'ref', 'cpu', 'cuda', or 'auto' for the fastest available. The kernels compute 16 bits in float32 and
            round once, the reference rounds at every step. On CUDA a filter other than 4 x 4 taps is a pass of its own.

    Returns:
        [N, C, H', W'], dtype of `x`; H' = H + y0 + y1 - fh + 1 and W' = W + x0 + x1 - fw + 1, or H and W without a
        filter.

    Raises:
        ValueError: If an argument has a wrong shape or is out of range.
        ConfigError: If the implementation is not available.
    """
    if act not in SLOPES:
        raise ValueError(f"synthesis_epilogue: act '{act}', known are {', '.join(SLOPES)}")
    slope = SLOPES[act] if alpha is None or act == 'linear' else alpha
    if slope < 0 or gain <= 0 or (clamp is not None and clamp < 0):
        raise ValueError(f'synthesis_epilogue: needs {alpha=} and {clamp=} of at least 0 (or None), positive {gain=}')
    _check_shapes(x, fir, padding, demod, noise, bias)
    alone = fir is None and demod is None and noise is None  # nothing except bias_act
    if alone or dispatch.pick(impl, x) == 'ref' or not x.is_contiguous(memory_format=torch.channels_last):
        return _one_by_one(x, fir, padding, demod, noise, bias, act, slope, gain, clamp, fir_gain, impl)
    f = None if fir is None else correlated(fir, fir_gain)  # [fh, fw]
    y: torch.Tensor = torch.ops.ganfoundry.epilogue(x, f, padding, demod, noise, bias, slope, gain, clamp)
    return y


def scale_channels(x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Returns x [N, C, H, W] times s [N, C], in the dtype of `x`.

    The kernel is the epilogue with nothing except a factor: the gradients of both take one pass. Without it, this is
    PyTorch's product with the rounded factor.
    """
    if dispatch.pick('auto', x) == 'ref' or not x.is_contiguous(memory_format=torch.channels_last):
        return x * s.to(x.dtype)[:, :, None, None]
    y: torch.Tensor = torch.ops.ganfoundry.epilogue(x, None, [0] * 4, s, None, None, 1.0, 1.0, None)
    return y


def _one_by_one(
    x: torch.Tensor,
    fir: torch.Tensor | None,
    padding: Sequence[int],
    demod: torch.Tensor | None,
    noise: torch.Tensor | None,
    bias: torch.Tensor | None,
    act: str,
    slope: float,
    gain: float,
    clamp: float | None,
    fir_gain: float,
    impl: str,
) -> torch.Tensor:
    """Runs the operations one after the other; the specification if impl='ref'. Arguments as above."""
    if fir is not None:
        x = upfirdn2d(x, fir, padding=padding, gain=fir_gain, impl=impl)  # [N, C, H', W']
    if demod is not None:
        # act(g x) = g act(x): the gain moves to tensors that are smaller than the features.
        demod, gain, g = demod * gain, 1, gain
        noise, bias = (None if t is None else t * g for t in (noise, bias))
        x = x * demod.to(x.dtype)[:, :, None, None]
    if noise is not None:
        # In place if x is a new tensor. torch.addcmul saves this pass and spends two on its gradient.
        x = x + noise.to(x.dtype) if demod is None else x.add_(noise.to(x.dtype))
    return bias_act(x, bias, act=act, alpha=slope, gain=gain, clamp=clamp, impl=impl)


def correlated(fir: torch.Tensor, gain: float = 1) -> torch.Tensor:
    """Returns the taps [fh, fw] that correlate as `gain` times `fir` convolves."""

    def make() -> torch.Tensor:
        if fir.ndim == 2:
            return fir.flip([0, 1]) * gain
        # Float64 holds the product of two float32 taps exactly: the kernel sees that the filter is separable.
        f = fir.flip([0])
        return f[:, None].double() * f * gain

    return prepared_filter(fir, 'correlated', gain, make)


def _check_shapes(
    x: torch.Tensor,
    fir: torch.Tensor | None,
    padding: Sequence[int],
    demod: torch.Tensor | None,
    noise: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> None:
    """Raises ValueError if the shapes do not fit together. Arguments as in `synthesis_epilogue`."""
    if x.ndim != 4 or len(padding) != 4:
        raise ValueError(f'synthesis_epilogue: x [N, C, H, W] and four paddings, got {list(x.shape)} and {padding}')
    n, c, h, w = x.shape
    if fir is None and any(padding):
        raise ValueError(f"synthesis_epilogue: padding {tuple(padding)} is the filter's, and fir is None")
    if fir is not None:
        h, w = h + padding[2] + padding[3] - fir.shape[0] + 1, w + padding[0] + padding[1] - fir.shape[-1] + 1
        if fir.ndim not in (1, 2) or h < 1 or w < 1:
            raise ValueError(f'synthesis_epilogue: fir {list(fir.shape)} and {padding=} leave nothing of {[*x.shape]}')
    if demod is not None and demod.shape != (n, c):
        raise ValueError(f'synthesis_epilogue: demod must be {[n, c]}, got {list(demod.shape)}')
    if noise is not None and noise.shape not in ((n, 1, h, w), (h, w)):
        raise ValueError(f'synthesis_epilogue: noise must be {[n, 1, h, w]} or {[h, w]}, got {list(noise.shape)}')
    if bias is not None and bias.shape != (c,):
        raise ValueError(f'synthesis_epilogue: bias must be {[c]}, got {list(bias.shape)}')


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    wide = torch.promote_types(dtype, torch.float32)

    def sample(name: str, shape: Sequence[int], parts: Mapping[str, Sequence[int]], **options: Any) -> Sample:
        inputs = {'x': sample_tensor(shape, device, dtype)}
        for part, size in parts.items():
            inputs[part] = sample_bias(size, device, wide) if part == 'bias' else sample_tensor(size, device, wide, 2)
        return Sample(name=name, inputs=inputs, options=options)

    low_pass = setup_filter([1, 3, 3, 1]).to(device)
    general = torch.tensor([[1.0, 2, -3], [0.5, 4, 1]], device=device)  # not an outer product
    every = {'demod': [2, 3], 'noise': [2, 1, 4, 3], 'bias': [3]}
    yield sample('everything', [2, 3, 5, 4], every, fir=low_pass, padding=[1] * 4, act='lrelu', gain=1.5, clamp=1.5)
    yield sample('no filter', [2, 3, 4, 3], every, act='lrelu', gain=1.5, clamp=1.5)
    yield sample('no outer product, shared noise', [2, 3, 4, 3], {**every, 'noise': [4, 3]}, fir=general,
                 padding=[1, 1, 1, 0], act='lrelu', fir_gain=0.5)  # fmt: skip
    yield sample('filter alone', [1, 2, 4, 5], {}, fir=low_pass, padding=[2, 1, 0, 3], fir_gain=4)
    yield sample('bias alone', [2, 3, 4, 3], {'bias': [3]}, act='lrelu', alpha=0.1)
    yield sample('one-dimensional taps, one pixel', [1, 2, 1, 1], {'noise': [1, 1]}, padding=[2] * 4,
                 fir=setup_filter([1, 2, 3, 4, 5], separable=True).to(device))  # fmt: skip
    empty = {'demod': [0, 3], 'noise': [0, 1, 4, 3], 'bias': [3]}
    yield sample('empty batch', [0, 3, 5, 4], empty, fir=low_pass, padding=[1] * 4, act='lrelu', clamp=1.5)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    n, c, h, w = shape
    x = torch.randn(n, c, h, w, device=device).to(dtype, memory_format=torch.channels_last)
    demod, noise, bias = (torch.randn(size, device=device) for size in ([n, c], [h, w], [c]))
    inputs = {'x': x, 'demod': demod, 'noise': noise, 'bias': bias}
    options = {'fir': setup_filter([1, 3, 3, 1]).to(device), 'padding': [2, 1, 2, 1], 'act': 'lrelu', 'clamp': 256}
    yield Sample(name='filter, noise, lrelu', inputs=inputs, options=options)


register_op(
    Op(
        'synthesis_epilogue',
        synthesis_epilogue,
        _samples,
        operators=('epilogue', 'epilogue_backward', 'epilogue_second'),
        workloads=_workloads,
    )
)
