"""Bias, activation, gain and clamp of a feature map: the specification in plain PyTorch, and its kernels.

Differentiable any number of times. Letters: N batch, C channels, H and W height and width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from torch_utils.ops import dispatch
from torch_utils.ops.registry import Op, Sample, register_op, sample_bias, sample_tensor


@dataclass(frozen=True, slots=True)
class Activation:
    """A point-wise non-linearity.

    Attributes:
        func: The function `func(x, alpha)`.
        gain: Its variance-preserving gain.
        alpha: Its default slope.
    """

    func: Callable[[torch.Tensor, float], torch.Tensor]
    gain: float = 1.0
    alpha: float = 0.0


ACTIVATIONS: dict[str, Activation] = {
    'linear': Activation(lambda x, alpha: x),
    'relu': Activation(lambda x, alpha: F.relu(x), gain=math.sqrt(2)),
    'lrelu': Activation(lambda x, alpha: F.leaky_relu(x, alpha), gain=math.sqrt(2), alpha=0.2),
    'tanh': Activation(lambda x, alpha: torch.tanh(x)),
    'sigmoid': Activation(lambda x, alpha: torch.sigmoid(x)),
    'elu': Activation(lambda x, alpha: F.elu(x)),
    'selu': Activation(lambda x, alpha: F.selu(x)),
    'softplus': Activation(lambda x, alpha: F.softplus(x)),
    'swish': Activation(lambda x, alpha: F.silu(x), gain=math.sqrt(2)),
}


def bias_act(
    x: torch.Tensor,
    b: torch.Tensor | None = None,
    dim: int = 1,
    act: str = 'linear',
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    impl: str = 'auto',
) -> torch.Tensor:
    """Returns clip(gain * act(x + b), -clamp, clamp).

    Args:
        x: Floating tensor of any shape, typically [N, C, H, W] or [N, C].
        b: Bias [x.shape[dim]]; None: 0.
        dim: Axis of `x` that the bias belongs to.
        act: Name of the activation, a key of `ACTIVATIONS`.
        alpha: Slope of 'lrelu' below zero (None: 0.2); the other activations ignore it.
        gain: Factor on the activation; None: the activation's own, sqrt(2) for relu, lrelu and swish.
        clamp: Maximum magnitude of the result, at least 0; None: unbounded.
        impl: 'ref', 'cpu', 'cuda', or 'auto' for the fastest available. The kernels compute 'linear' and 'lrelu'; other
            activations run the reference under every name. Kernels round once, the reference at every step.

    Returns:
        A tensor with the shape, dtype and memory format of `x`.

    Raises:
        ValueError: If the activation is unknown, the clamp negative, or the bias of another length.
        ConfigError: If the implementation is not available.
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"bias_act: unknown activation '{act}'; known are {', '.join(ACTIVATIONS)}")
    if clamp is not None and clamp < 0:
        raise ValueError(f'bias_act: clamp must be at least 0 or None, got {clamp}')
    spec = ACTIVATIONS[act]
    alpha = spec.alpha if alpha is None else alpha
    gain = spec.gain if gain is None else gain
    if b is not None and (b.ndim != 1 or b.shape[0] != x.shape[dim]):
        raise ValueError(f'bias_act: b must have shape [{x.shape[dim]}] for dim={dim}, got {list(b.shape)}')
    # The kernels' gradient takes the sign of x + b from the sign of the result.
    keeps_sign = act == 'linear' or (act == 'lrelu' and gain > 0 and alpha >= 0)
    does_nothing = act == 'linear' and b is None and clamp is None and gain == 1
    if dispatch.pick(impl, x) == 'ref' or not keeps_sign or does_nothing:
        return _reference(x, b, dim, act, alpha, gain, clamp)
    b = x.new_zeros(x.shape[dim]) if b is None else b
    slope = 1.0 if act == 'linear' else alpha
    y: torch.Tensor = torch.ops.ganfoundry.bias_act(x, b, dim % x.ndim, slope, gain, clamp)
    return y


def _reference(
    x: torch.Tensor, b: torch.Tensor | None, dim: int, act: str, alpha: float, gain: float, clamp: float | None
) -> torch.Tensor:
    if b is not None:
        shape = [1] * x.ndim
        shape[dim] = -1
        x = x + b.to(x.dtype).reshape(shape)
    # x + b is a new tensor: a positive slope may work in place, which saves an allocation as large as x.
    in_place = act == 'lrelu' and b is not None and alpha > 0
    x = F.leaky_relu_(x, alpha) if in_place else ACTIVATIONS[act].func(x, alpha)
    if gain != 1:
        x = x * gain
    # torch.clamp's gradient takes four passes over the features, hardtanh's one.
    return x if clamp is None else F.hardtanh(x, -clamp, clamp)


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    def sample(name: str, shape: Sequence[int], num_biases: int = 0, **options: Any) -> Sample:
        inputs = {'x': sample_tensor(shape, device, dtype)}
        if num_biases:
            inputs['b'] = sample_bias([num_biases], device, torch.promote_types(dtype, torch.float32))
        return Sample(name=name, inputs=inputs, options=options)

    yield sample('images', [2, 3, 4, 3], 3, act='lrelu', clamp=1.5)
    yield sample('vectors', [3, 4], 4, act='lrelu', gain=2.0)
    yield sample('bias along dim 0', [3, 4], 3, dim=0, act='lrelu', alpha=0.1)
    yield sample('linear without bias', [2, 3, 4, 3], gain=1.5, clamp=1.0)
    yield sample('nothing to do', [2, 3, 4, 3], gain=1.0)
    yield sample('slope of zero', [2, 3, 4, 3], 3, act='lrelu', alpha=0.0)
    yield sample('tanh', [2, 3, 4, 3], 3, act='tanh')
    yield sample('one pixel', [1, 1, 1, 1], 1, act='lrelu')
    yield sample('empty batch', [0, 3, 4, 3], 3, act='lrelu', clamp=1.5)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    inputs = {'x': torch.randn(tuple(shape), device=device).to(dtype), 'b': torch.zeros(shape[1], device=device)}
    yield Sample(name='lrelu clamp', inputs=inputs, options={'act': 'lrelu', 'clamp': 256})


register_op(Op('bias_act', bias_act, _samples, operators=('bias_act', 'bias_act_grad'), workloads=_workloads))
