"""Convolution with FIR-filtered up- or down-sampling: the specification, in plain PyTorch.

The filter is a pass of its own. Folded into the kernel (one 6x6 convolution of stride 2, or its transpose) it costs
four times the multiplications; this measured 3 to 4 times slower for 64 to 512 channels.

Letters: N batch, I and O input and output channels, H and W height and width, k kernel size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from torch_utils.ops.act_fir import act_fir
from torch_utils.ops.conv2d import conv2d, conv_transpose2d
from torch_utils.ops.filter_branch import filter_branch
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor
from torch_utils.ops.upfirdn2d import filter_size, setup_filter, upfirdn2d


def conv2d_resample(
    x: torch.Tensor,
    w: torch.Tensor,
    f: torch.Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int = 0,
    flip_weight: bool = True,
) -> torch.Tensor:
    """Up-samples with `f`, convolves with `w`, down-samples with `f`.

    Args:
        x: Features [N, I, H, W].
        w: Kernel [O, I, k, k], dtype of `x`.
        f: Square filter of `upfirdn2d.setup_filter`; None: zeros are inserted and pixels dropped without a filter.
        up: Factor of up-sampling.
        down: Factor of down-sampling.
        padding: Pixels on every side of the up-sampled image; k // 2 keeps the size.
        flip_weight: True correlates as `F.conv2d` does, False convolves.

    Returns:
        [N, O, H * up // down, W * up // down] for padding k // 2, dtype of `x`.
    """
    k = w.shape[-1]
    p0, p1 = _placement(f, up, down, padding)
    if up > 1:
        return _upsampling(x, w, f, up, down, (p0, p1), flip_weight)
    w = w if flip_weight else w.flip([2, 3])
    if down == 1:
        return conv2d(x, w, padding=padding)
    if k == 1:  # One tap commutes with the filter: drop pixels first.
        return conv2d(upfirdn2d(x, f, down=down, padding=[p0, p1, p0, p1]), w)
    return conv2d(upfirdn2d(x, f, padding=[p0, p1, p0, p1]), w, stride=down)


def _upsampling(
    x: torch.Tensor,
    w: torch.Tensor,
    f: torch.Tensor | None,
    up: int,
    down: int,
    padding: tuple[int, int],
    flip_weight: bool,
) -> torch.Tensor:
    """Convolves first, at the low resolution, then filters; arguments as in `conv2d_resample`.

    The two commute because both are linear and shift-invariant.
    """
    p0, p1 = padding
    k = w.shape[-1]
    if k == 1:
        x = conv2d(x, w)
    else:
        x, p0, p1 = _transposed(x, w, up, p0, p1, flip_weight)
    x = upfirdn2d(x, f, up=up if k == 1 else 1, padding=[p0, p1, p0, p1], gain=up**2)
    return x if down == 1 else upfirdn2d(x, f, down=down)


def conv2d_before_fir(
    x: torch.Tensor, w: torch.Tensor, f: torch.Tensor, up: int, padding: int, flip_weight: bool
) -> tuple[torch.Tensor, list[int]]:
    """Returns `conv2d_resample` with `up` > 1 and k > 1 before its last step, which the caller fuses with others.

    Args:
        x: Features [N, I, H, W].
        w: Kernel [O, I, k, k], dtype of `x`.
        f: Filter of `upfirdn2d.setup_filter`.
        up: Factor of up-sampling.
        padding: Pixels on every side of the up-sampled image.
        flip_weight: As in `conv2d_resample`.

    Returns:
        x [N, O, H', W'] and p; the last step is `upfirdn2d(x, f, padding=p, gain=up**2)`.
    """
    assert up > 1, up
    assert w.shape[-1] > 1, w.shape
    x, p0, p1 = _transposed(x, w, up, *_placement(f, up, 1, padding), flip_weight)
    return x, [p0, p1, p0, p1]


def act_conv2d_down(
    x: torch.Tensor,
    b: torch.Tensor | None,
    w: torch.Tensor,
    f: torch.Tensor,
    down: int,
    padding: int,
    act: str,
    clamp: float | None,
) -> torch.Tensor:
    """Returns `conv2d_resample(bias_act(x, b, act=act, gain=1, clamp=clamp), w, f, down=down, padding=padding)`.

    Activation and filter are a single pass over the features if there is a kernel for it.

    Args:
        x: Features [N, I, H, W].
        b: Bias [I], or None.
        w: Kernel [O, I, k, k], k > 1.
        f: Filter of `upfirdn2d.setup_filter`.
        down: Factor of down-sampling, above 1.
        padding: As in `conv2d_resample`.
        act: As in `act_fir`.
        clamp: As in `act_fir`.

    Returns:
        [N, O, H // down, W // down] for padding k // 2.
    """
    assert down > 1, down
    assert w.shape[-1] > 1, w.shape
    p0, p1 = _placement(f, 1, down, padding)
    return conv2d(act_fir(x, b, f, [p0, p1, p0, p1], act, clamp=clamp), w, stride=down)


def branched_conv2d_down(
    x: torch.Tensor, w: torch.Tensor, f: torch.Tensor, down: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns `x` and `conv2d_resample(x, w, f, down=down)`, for two branches whose gradients are added in one pass.

    Args:
        x: Features [N, I, H, W].
        w: Kernel [O, I, 1, 1], dtype of `x`.
        f: Filter of `upfirdn2d.setup_filter`.
        down: Factor of down-sampling, above 1.
    """
    assert down > 1, down
    assert w.shape[-1] == 1, w.shape
    p0, p1 = _placement(f, 1, down, 0)
    x, y = filter_branch(x, f, down, [p0, p1, p0, p1])
    return x, conv2d(y, w)


def _placement(f: torch.Tensor | None, up: int, down: int, padding: int) -> tuple[int, int]:
    """Returns the padding before and after the up-sampled image, with that of the filters, which keeps it centered.

    Args:
        f: Filter, or None.
        up: Factor of up-sampling.
        down: Factor of down-sampling.
        padding: Pixels on every side.
    """
    taps = filter_size(f)[0]
    p0 = padding + (taps + up - 1) // 2 * (up > 1) + (taps - down + 1) // 2 * (down > 1)
    p1 = padding + (taps - up) // 2 * (up > 1) + (taps - down) // 2 * (down > 1)
    return p0, p1


def _transposed(
    x: torch.Tensor, w: torch.Tensor, up: int, p0: int, p1: int, flip_weight: bool
) -> tuple[torch.Tensor, int, int]:
    """Runs the transposed convolution, which pads by k - 1 on every side and lacks the last up - 1 zeros.

    Args:
        x: Features [N, I, H, W].
        w: Kernel [O, I, k, k].
        up: Factor of up-sampling.
        p0: Padding before the up-sampled image.
        p1: Padding after the up-sampled image.
        flip_weight: As in `conv2d_resample`.

    Returns:
        The result, and the rest of the padding, (p0, p1).
    """
    k = w.shape[-1]
    w = w.flip([2, 3]) if flip_weight else w
    return conv_transpose2d(x, w.transpose(0, 1), stride=up), p0 - (k - 1), p1 - (k - up)


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    def sample(name: str, shape: Sequence[int], side: int, f: torch.Tensor | None, **options: Any) -> Sample:
        w = sample_tensor([3, shape[1], side, side], device, dtype, seed=1)
        options = {'f': None if f is None else f.to(device), 'padding': side // 2, **options}
        return Sample(name=name, inputs={'x': sample_tensor(shape, device, dtype), 'w': w}, options=options)

    low_pass = setup_filter([1, 3, 3, 1])
    yield sample('3x3', [2, 2, 4, 3], 3, None)
    yield sample('3x3 convolved', [1, 2, 4, 3], 3, None, flip_weight=False)
    yield sample('3x3 up 2', [2, 2, 3, 2], 3, low_pass, up=2)
    yield sample('3x3 down 2', [2, 2, 4, 4], 3, low_pass, down=2)
    yield sample('1x1 up 2', [1, 2, 3, 2], 1, low_pass, up=2)
    yield sample('1x1 down 2', [1, 2, 4, 4], 1, low_pass, down=2)
    yield sample('3x3 up 2 and down 2', [1, 2, 3, 2], 3, low_pass, up=2, down=2)
    yield sample('pixels dropped', [1, 2, 4, 4], 3, None, down=2)
    yield sample('one pixel', [1, 1, 1, 1], 3, low_pass, up=2)
    yield sample('empty batch', [0, 2, 4, 4], 3, low_pass, down=2)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    f = setup_filter([1, 3, 3, 1]).to(device)
    x, w = (torch.randn(size, device=device).to(dtype) for size in (tuple(shape), (shape[1], shape[1], 3, 3)))
    for name, options in (('3x3', {}), ('3x3 up 2', {'up': 2}), ('3x3 down 2', {'down': 2})):
        yield Sample(name=name, inputs={'x': x, 'w': w}, options={'f': f, 'padding': 1, **options})


register_op(Op('conv2d_resample', conv2d_resample, _samples, workloads=_workloads))
