"""Registry of operations: registering one enrolls it in the contract tests, the doctor and the benchmark.

An operation's module ends with `register_op(Op(...))`. Letters: N batch, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dnnlib.registry import Registry
from torch_utils.ops import dispatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Arguments of one call of an operation.

    Attributes:
        name: Short description, unique among the samples of an operation.
        inputs: Tensors that gradients flow into, by parameter name.
        options: All other arguments, by parameter name.
    """

    name: str
    inputs: Mapping[str, torch.Tensor]
    options: Mapping[str, Any]


Samples = Callable[[torch.device, torch.dtype], Iterable[Sample]]
Workloads = Callable[[Sequence[int], torch.device, torch.dtype], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class Op:
    """An operation with its test cases.

    Attributes:
        name: Name of the operation, unique.
        call: The public function; returns one tensor.
        samples: `samples(device, dtype)` yields small inputs, the edge cases and one empty batch among them. In float64
            they lie away from the points where a derivative jumps.
        orders: Number of times that the result is differentiable in the inputs; the contract tests check two at most.
        reference: The form in plain PyTorch; None: `call` itself under `dispatch.default('ref')`.
        operators: Operators of `torch.ops.ganfoundry` that the fast form consists of, those of its gradients included.
        workloads: `workloads(shape, device, dtype)` yields typical calls on a feature map [N, C, H, W], to be timed.
    """

    name: str
    call: Callable[..., torch.Tensor]
    samples: Samples
    orders: int = 2
    reference: Callable[..., torch.Tensor] | None = None
    operators: tuple[str, ...] = ()
    workloads: Workloads | None = None

    def bind(self, sample: Sample, *, reference: bool = False) -> Callable[..., torch.Tensor]:
        """Returns a function of the sample's inputs, in their order: the process's default form or the reference."""
        names = tuple(sample.inputs)

        def fast(*inputs: torch.Tensor) -> torch.Tensor:
            return self.call(**dict(zip(names, inputs, strict=True)), **sample.options)

        def plain(*inputs: torch.Tensor) -> torch.Tensor:
            with dispatch.default('ref'):
                return (self.reference or self.call)(**dict(zip(names, inputs, strict=True)), **sample.options)

        return plain if reference else fast


OPS: Registry[Op] = Registry('operation', packages=('torch_utils.ops',))


def register_op(op: Op) -> Op:
    """Adds an operation to `OPS`. Raises ConfigError if another module has taken its name."""
    return OPS.register(op.name, op, module=op.samples.__module__)


def sample_tensor(shape: Sequence[int], device: torch.device, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    """Returns normal numbers rounded to odd multiples of 1/8.

    They are exact in every floating dtype, and at least 1/8 away from zero, where activations have a bend.

    Args:
        shape: Shape of the result.
        device: Device of the result.
        dtype: Floating dtype of the result.
        seed: Seed of the random numbers.

    Returns:
        A tensor of that shape, device and dtype.
    """
    x = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
    return (((x * 4).floor() + 0.5) / 4).to(device, dtype)


def sample_bias(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Returns multiples of 1/4, which keep a `sample_tensor` away from zero when they are added to it.

    Args:
        shape: Shape of the result.
        device: Device of the result.
        dtype: Floating dtype of the result.
    """
    return sample_tensor(shape, device, dtype, seed=1) - 0.125
