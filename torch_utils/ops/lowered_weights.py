"""Weights of a network in the form that its convolutions take: scaled, cast, channels last, with sums of squares.

The kernels take all weights of a pass at once: one launch in each direction instead of several per layer, and on a CPU
one pass over each weight. Results are differentiable twice. Letters: O and I output and input channels, k kernel size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from torch_utils.ops import dispatch
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor


class Lowered(NamedTuple):
    """A weight for the convolutions.

    Attributes:
        weight: The scaled weight, cast.
        squares: Sums of the scaled weight's squares over the taps [O, I], float32; None if they were not asked for.
    """

    weight: torch.Tensor
    squares: torch.Tensor | None


def lower_weights(
    weights: Sequence[torch.Tensor],
    gains: Sequence[float],
    dtype: torch.dtype,
    *,
    normalize: bool = False,
    squares: bool = False,
    impl: str = 'auto',
) -> list[Lowered]:
    """Scales and casts weights, and sums their squares.

    Args:
        weights: Weights [O, I, k, k], [O, I] or [O], float32; at least one.
        gains: A factor per weight.
        dtype: Dtype of the results.
        normalize: Whether to scale every output channel by 1 / (max |w| sqrt(fan-in)) instead, so that float16 cannot
            overflow. That scale has no gradient: only results that do not depend on it may follow.
        squares: Whether to compute the sums of squares, of weights [O, I, k, k] only.
        impl: 'ref', 'cpu', 'cuda', or 'auto' for the fastest available. The kernels return weights [O, I, k, k] in
            channels-last format, the reference in their own.

    Returns:
        A result per weight.

    Raises:
        ConfigError: If the implementation is not available.
    """
    if dispatch.pick(impl, weights[0]) == 'ref':
        return [_reference(w, gain, dtype, normalize, squares) for w, gain in zip(weights, gains, strict=True)]
    gains = [float(gain) for gain in gains]
    out = torch.ops.ganfoundry.lowered_weights(list(weights), gains, dtype, True, normalize, squares)
    n = len(weights)
    return [Lowered(out[i], out[n + i] if squares else None) for i in range(n)]


def _reference(w: torch.Tensor, gain: float, dtype: torch.dtype, normalize: bool, squares: bool) -> Lowered:
    if normalize:
        largest = w.detach().abs().flatten(1).amax(dim=1)  # [O]
        w = w / (largest * math.sqrt(w[0].numel())).reshape(-1, *[1] * (w.ndim - 1))
    elif gain != 1:
        w = w * gain
    sums = w.square().sum([2, 3]) if squares else None
    return Lowered(w.to(dtype), sums)


def _flat(first: torch.Tensor, second: torch.Tensor, dtype: torch.dtype, squares: bool) -> torch.Tensor:
    """Returns the results for two weights in one tensor [O, numbers], for the contract of operations.

    Args:
        first: Weight [O, ...].
        second: Weight [O, ...].
        dtype: As in `lower_weights`.
        squares: As in `lower_weights`.
    """
    results = lower_weights([first.to(second.dtype), second], [0.5, 2.0], dtype, squares=squares)
    parts = [r.weight.flatten(1) if r.weight.ndim > 1 else r.weight[:, None] for r in results]
    parts += [r.squares for r in results if r.squares is not None]
    return torch.cat([part.to(first.dtype) for part in parts], dim=1)


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    wide = torch.promote_types(dtype, torch.float32)

    def sample(name: str, first: Sequence[int], second: Sequence[int], squares: bool) -> Sample:
        inputs = {'first': sample_tensor(first, device, dtype), 'second': sample_tensor(second, device, wide, seed=1)}
        return Sample(name=name, inputs=inputs, options={'dtype': dtype, 'squares': squares})

    yield sample('kernels with squares', [3, 2, 3, 3], [3, 4, 1, 1], True)
    yield sample('kernel and bias', [3, 2, 3, 3], [3], False)
    yield sample('empty batch', [0, 2, 3, 3], [0, 2, 1, 1], True)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    n, c = shape[:2]
    inputs = {'first': torch.randn(n, c, 3, 3, device=device), 'second': torch.randn(n, c, 1, 1, device=device)}
    yield Sample(name='two kernels', inputs=inputs, options={'dtype': dtype, 'squares': True})


register_op(
    Op(
        'lowered_weights',
        _flat,
        _samples,
        operators=('lowered_weights', 'lowered_weights_backward'),
        workloads=_workloads,
    )
)
