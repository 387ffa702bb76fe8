"""StyleGAN3's activation: leaky ReLU at a raised rate between two low-pass filters. The specification and its kernels.

Karras et al. 2021, "Alias-Free Generative Adversarial Networks", arXiv 2106.12423, section 3.1. Differentiable any
number of times in image and bias; the filters are constants. Given the factor m at each sample of the raised rate
(gain, gain * slope, or 0 where clamped), the operation is linear: its gradient is the same operation with the filters
and the factors of sampling exchanged, and the stored m in place of the activation.

Letters: N batch, C channels, H and W height and width; fh and fw height and width of a filter. Pairs are (x, y),
paddings (x0, x1, y0, y1), in samples of the raised rate; negative values crop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torch_utils.ops import dispatch
from torch_utils.ops.registry import Op, Sample, register_op, sample_bias, sample_tensor
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d

MAX_TAPS_ON_GPU = 32  # taps per axis; longer filters take the composition


def filtered_lrelu(
    x: torch.Tensor,
    fu: torch.Tensor | None = None,
    fd: torch.Tensor | None = None,
    b: torch.Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
    impl: str = 'auto',
) -> torch.Tensor:
    """Returns down(clip(gain * lrelu(up(x + b)), -clamp, clamp)), with a filter in `up` and in `down`.

    `up` inserts up - 1 zeros after every pixel, pads, and filters by up^2 * fu; `down` filters by fd and keeps every
    down-th sample.

    Args:
        x: Features [N, C, H, W], any floating dtype; float16 and bfloat16 are computed in float32.
        fu: Filter [fh, fw], or [fw] to be applied along x and then y; None is the identity.
        fd: Filter after the activation, as `fu`.
        b: Bias [C]; None: 0.
        up: Factor of up-sampling.
        down: Factor of down-sampling.
        padding: One number, (x0, x1) for both axes, or (x0, x1, y0, y1).
        gain: Factor on the activation, positive.
        slope: Slope of the activation below zero, at least 0.
        clamp: Maximum magnitude before `down`, at least 0; None: unbounded.
        flip_filter: True correlates with both filters, False convolves.
        impl: 'ref', 'cpu', 'cuda', or 'auto' for the fastest available.

    Returns:
        [N, C, (H * up + y0 + y1 - (fu's fh - 1) - fd's fh) // down + 1, likewise], dtype of `x`.

    Raises:
        ValueError: If an argument has a wrong shape or is out of range, or the result is empty.
        ConfigError: If the implementation is not available.
    """
    if gain <= 0 or slope < 0 or (clamp is not None and clamp < 0):
        raise ValueError(f'filtered_lrelu: needs positive {gain=}, {slope=} and {clamp=} of at least 0 (or None)')
    if x.ndim != 4 or (b is not None and b.shape != x.shape[1:2]):
        shapes = f'{list(x.shape)} and {None if b is None else list(b.shape)}'
        raise ValueError(f'filtered_lrelu: expected x [N, C, H, W] and b [C], got {shapes}')
    pads = [padding] * 4 if isinstance(padding, int) else list(padding)
    pads = pads * 2 if len(pads) == 2 else pads
    picked = dispatch.pick(impl, x)
    if picked == 'ref' or (picked == 'cuda' and not _fits_on_gpu(fu, fd, up, down)):
        return _composed(x, fu, fd, b, up, down, pads, gain, slope, clamp, flip_filter, impl)
    bias = x.new_zeros(x.shape[1]) if b is None else b
    filters = _taps(fu, x.device, flip_filter, up), _taps(fd, x.device, flip_filter, 1)
    keep = torch.is_grad_enabled()  # the codes that a gradient needs; torch.compile does not know `requires_grad`
    y: torch.Tensor = torch.ops.ganfoundry.filtered_lrelu(x, bias, *filters, up, down, pads, slope, gain, clamp, keep)[
        0
    ]
    return y


def _fits_on_gpu(fu: torch.Tensor | None, fd: torch.Tensor | None, up: int, down: int) -> bool:
    """Returns whether a tile fits into shared memory, for the operation and for its gradient.

    Args:
        fu: Filter before the activation.
        fd: Filter after it.
        up: Factor of up-sampling.
        down: Factor of down-sampling.
    """
    return max(up, down) <= 4 and all(f is None or max(f.shape) <= MAX_TAPS_ON_GPU for f in (fu, fd))


def _taps(f: torch.Tensor | None, device: torch.device, flip_filter: bool, factor: int) -> torch.Tensor:
    """Returns a filter as the kernels correlate it, float64 [fw] or [fh, fw].

    Args:
        f: Filter, or None.
        device: Device of the result.
        flip_filter: Whether the filter is correlated already.
        factor: Factor on the filter per axis.
    """
    f = torch.ones([1], device=device) if f is None else f
    f = f if flip_filter else f.flip(list(range(f.ndim)))
    scale: float = factor**f.ndim
    return f.double() * scale


def _composed(
    x: torch.Tensor,
    fu: torch.Tensor | None,
    fd: torch.Tensor | None,
    b: torch.Tensor | None,
    up: int,
    down: int,
    padding: Sequence[int],
    gain: float,
    slope: float,
    clamp: float | None,
    flip_filter: bool,
    impl: str,
) -> torch.Tensor:
    """Computes one step after another; arguments as in `filtered_lrelu`."""
    y = x.to(torch.promote_types(x.dtype, torch.float32))
    fu, fd = (f if f is None else f.to(y.dtype) for f in (fu, fd))  # a gain is then exact in float64, too
    y = y if b is None else y + b.to(y.dtype)[:, None, None]
    y = upfirdn2d(y, fu, up=up, padding=padding, flip_filter=flip_filter, gain=up**2, impl=impl)
    y = F.leaky_relu(y, slope) * gain
    y = y if clamp is None else y.clamp(-clamp, clamp)
    return upfirdn2d(y, fd, down=down, flip_filter=flip_filter, impl=impl).to(x.dtype)


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    def sample(
        name: str,
        shape: Sequence[int],
        fu: torch.Tensor | None,
        fd: torch.Tensor | None,
        b: bool = True,
        **options: Any,
    ) -> Sample:
        inputs = {'x': sample_tensor(shape, device, dtype)}
        if b:
            inputs['b'] = sample_bias(shape[1:2], device, torch.promote_types(dtype, torch.float32)) + 0.03
        filters = {key: None if f is None else f.to(device) for key, f in (('fu', fu), ('fd', fd))}
        return Sample(name=name, inputs=inputs, options={**filters, **options})

    four, eight, six = (setup_filter(range(1, taps + 1), separable=True) for taps in (4, 8, 6))
    round_six = six.outer(six) + 0.01 * torch.eye(6)  # not an outer product
    general = torch.tensor([[1.0, 2, -3], [0.5, 4, 1]])
    yield sample('up 2, down 2', [2, 2, 3, 2], six, four, up=2, down=2, padding=[4, 3], clamp=1.5)
    yield sample('up 4, down 2', [1, 2, 2, 2], eight, four, up=4, down=2, padding=[-1, 7, 3, 2])
    yield sample('filter of two dimensions', [1, 2, 2, 3], four, round_six, up=2, down=2, padding=[5, 4], slope=0.1)
    yield sample('unequal factors, correlated', [1, 1, 3, 2], general, six, up=3, down=2, padding=5, flip_filter=True)
    yield sample('crop, no bias', [1, 2, 5, 4], None, four, b=False, down=3, padding=[-1, 1, 0, -1], gain=1.1)
    yield sample('no filter', [1, 2, 3, 2], None, None, clamp=1.0)
    yield sample('one pixel', [1, 1, 1, 1], four, four, up=2, down=2, padding=4)
    yield sample('empty batch', [0, 2, 3, 2], four, four, up=2, down=2, padding=4, clamp=1.5)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    inputs = {'x': torch.randn(tuple(shape), device=device).to(dtype), 'b': torch.zeros(shape[1], device=device)}
    low, high = (torch.hamming_window(taps, device=device) / taps for taps in (12, 24))
    options = {'fd': low, 'down': 2, 'clamp': 256}
    yield Sample(name='same rate', inputs=inputs, options={'fu': low, 'up': 2, 'padding': [9, 8], **options})
    yield Sample(name='rate doubles', inputs=inputs, options={'fu': high, 'up': 4, 'padding': [14, 11], **options})


register_op(
    Op(
        'filtered_lrelu',
        filtered_lrelu,
        _samples,
        operators=('filtered_lrelu', 'filtered_lrelu_stored'),
        workloads=_workloads,
    )
)
