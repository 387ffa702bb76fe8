"""3x3 convolution after nearest up-sampling and before average pooling, in a plain form and folded into one 4x4.

The folded form multiplies 4 times per output pixel instead of 9 (before pooling: 16 instead of 36), without an
intermediate feature map of four times the size. It is exact, at the borders too: a zero-padded image remains one when
its pixels are doubled. It consists of ordinary differentiable operations and has gradients of every order.

Letters: N batch, I and O input and output channels, H and W height and width.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F

from torch_utils.ops.conv2d import conv2d, conv_transpose2d
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor

Direction = Literal['up', 'down']

# Minimum number of pixels H * W of the input for which folding is faster, forward with backward, by device type and
# direction: python bench/folded.py. Below it, the larger kernel costs more than the pixels save.
FOLD_FROM: dict[str, dict[Direction, int]] = {
    'cpu': {'up': 8 * 8, 'down': 16 * 16},
}


def folds(direction: Direction, x: torch.Tensor) -> bool:
    """Returns whether `fold=None` folds for x [N, I, H, W]; a device that was not measured takes the plain form.

    The batch size has no influence, although larger batches favor folding: an image must not depend on its batch.
    """
    fewest = FOLD_FROM.get(x.device.type)
    return fewest is not None and x.shape[2] * x.shape[3] >= fewest[direction]


def up_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, fold: bool | None = None
) -> torch.Tensor:
    """Doubles every pixel, then convolves with `weight`, padding 1.

    Args:
        x: Features [N, I, H, W].
        weight: Kernel [O, I, 3, 3], folded in float32 (float64 in float64) and then cast to the dtype of `x`.
        bias: Bias [O], or None.
        fold: True computes one transposed convolution of stride 2, False the plain form; None: as `folds` decides.

    Returns:
        [N, O, 2 * H, 2 * W], dtype of `x`.
    """
    assert weight.shape[2:] == (3, 3)
    bias = None if bias is None else bias.to(x.dtype)
    if folds('up', x) if fold is None else fold:
        # y[2i + a] depends on x[i - 1 + a] and x[i + a] only: a transposed convolution scatters, hence the flip.
        kernel = _folded(weight, flip=True).transpose(0, 1)  # [I, O, 4, 4]
        return conv_transpose2d(x, kernel.to(x.dtype), bias, stride=2, padding=1)
    x = F.interpolate(x, scale_factor=2, mode='nearest')  # [N, I, 2 * H, 2 * W]
    return conv2d(x, weight.to(x.dtype), bias, padding=1)


def down_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, fold: bool | None = None
) -> torch.Tensor:
    """Convolves with `weight`, padding 1, then averages 2x2 pixels.

    Args:
        x: Features [N, I, H, W], H and W even.
        weight: Kernel [O, I, 3, 3], folded in float32 (float64 in float64) and then cast to the dtype of `x`.
        bias: Bias [O], or None.
        fold: True computes one convolution of stride 2, False the plain form; None: as `folds` decides.

    Returns:
        [N, O, H / 2, W / 2], dtype of `x`.

    Raises:
        ValueError: If H or W is odd; pooling would drop a row or column.
    """
    assert weight.shape[2:] == (3, 3)
    if x.shape[2] % 2 or x.shape[3] % 2:
        raise ValueError(f'down_conv2d: height and width must be even, got {list(x.shape)}')
    bias = None if bias is None else bias.to(x.dtype)
    if folds('down', x) if fold is None else fold:
        kernel = _folded(weight) / 4  # [O, I, 4, 4]
        return conv2d(x, kernel.to(x.dtype), bias, stride=2, padding=1)
    y = conv2d(x, weight.to(x.dtype), bias, padding=1)  # [N, O, H, W]
    return F.avg_pool2d(y, 2)


def _folded(weight: torch.Tensor, flip: bool = False) -> torch.Tensor:
    """Returns `weight` [O, I, 3, 3] convolved with a box of 2x2 ones, possibly flipped: [O, I, 4, 4], at least float32.

    It is one product with a [9, 16] matrix of zeros and ones; padding and adding takes longer.
    """
    w = weight.to(torch.promote_types(weight.dtype, torch.float32))
    eye = torch.eye(3, dtype=w.dtype, device=w.device)
    box = F.pad(eye, [0, 1]) + F.pad(eye, [1, 0])  # [3, 4]: tap i reaches places i and i + 1
    box = box.flip(1) if flip else box
    return (w.flatten(2) @ torch.kron(box, box)).view(*w.shape[:2], 4, 4)


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    wide = torch.promote_types(dtype, torch.float32)

    def sample(name: str, shape: Sequence[int], with_bias: bool = False) -> Sample:
        inputs = {'x': sample_tensor(shape, device, dtype)}
        inputs['weight'] = sample_tensor([3, shape[1], 3, 3], device, wide, seed=1)
        if with_bias:
            inputs['bias'] = sample_tensor([3], device, wide, seed=2)
        return Sample(name=name, inputs=inputs, options={})

    yield sample('bias', [2, 2, 4, 2], with_bias=True)
    yield sample('no bias', [1, 2, 2, 4])
    yield sample('four pixels', [1, 1, 2, 2])
    yield sample('empty batch', [0, 2, 4, 2], with_bias=True)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    inputs = {'x': torch.randn(tuple(shape), device=device).to(dtype)}
    inputs['weight'] = torch.randn(shape[1], shape[1], 3, 3, device=device)
    yield Sample(name='3x3', inputs=inputs, options={})


for _conv in (up_conv2d, down_conv2d):
    register_op(
        Op(
            _conv.__name__,
            functools.partial(_conv, fold=True),
            _samples,
            reference=functools.partial(_conv, fold=False),
            workloads=_workloads,
        )
    )
