"""A filter at the start of one of two branches, whose gradients meet in one pass: the specification and its kernel.

Letters: N batch, C channels, H and W height and width, fh and fw height and width of the filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from torch_utils.ops import dispatch
from torch_utils.ops.epilogue import correlated
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d


def filter_branch(
    x: torch.Tensor, f: torch.Tensor, down: int, padding: Sequence[int], impl: str = 'auto'
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns `x` and `upfirdn2d(x, f, down=down, padding=padding)`, the inputs of two branches.

    The transposed filter adds the gradient of the other branch, which saves the pass that adds the two: one read in
    place of two reads and a write.

    Args:
        x: Features [N, C, H, W], any floating dtype and memory format.
        f: Filter of `upfirdn2d.setup_filter`, convolved. No gradient flows into it.
        down: Factor of down-sampling.
        padding: Padding of the filter, (x0, x1, y0, y1) pixels; negative values crop.
        impl: 'ref', 'cpu', 'cuda', or 'auto' for the fastest available. The kernel for CUDA takes channels last and 4 x
            4 taps; others are two passes.

    Returns:
        x, and [N, C, (H + y0 + y1 - fh) // down + 1, (W + x0 + x1 - fw) // down + 1], dtype of `x`.

    Raises:
        ConfigError: If the implementation is not available.
    """
    if dispatch.pick(impl, x) == 'ref':
        return x, upfirdn2d(x, f, down=down, padding=padding, impl='ref')
    result: tuple[torch.Tensor, torch.Tensor] = _Branch.apply(x, correlated(f), down, tuple(padding))
    return result


class _Branch(torch.autograd.Function):
    """`filter_branch` with a filter [fh, fw] that is correlated. Its gradient consists of differentiable operators."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, f: torch.Tensor, down: int, padding: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.ops.ganfoundry.upfirdn2d(x, f, [1, 1], [down, down], padding)
        ctx.save_for_backward(f)
        ctx.down = down
        (fh, fw), (h, w), (height, width) = f.shape, x.shape[2:], y.shape[2:]
        left, _, top, _ = padding
        ctx.padding = [fw - 1 - left, w - width * down + left, fh - 1 - top, h - height * down + top]
        return x, y

    @staticmethod
    def backward(ctx: Any, dx: torch.Tensor, dy: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (f,) = ctx.saved_tensors
        args = (dy, f.flip([0, 1]), [ctx.down, ctx.down], [1, 1], ctx.padding)
        return torch.ops.ganfoundry.upfirdn2d_add(dx, *args), None, None, None


def _joined(x: torch.Tensor, f: torch.Tensor, down: int, padding: Sequence[int]) -> torch.Tensor:
    """Returns both results as one tensor [N, C, H W + H' W'], for the contract of operations."""
    return torch.cat([part.flatten(2) for part in filter_branch(x, f, down, padding)], dim=2)


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    def sample(name: str, shape: Sequence[int], f: torch.Tensor, **options: Any) -> Sample:
        inputs = {'x': sample_tensor(shape, device, dtype)}
        return Sample(name=name, inputs=inputs, options={'f': f.to(device), **options})

    low_pass = setup_filter([1, 3, 3, 1])
    yield sample('down 2', [2, 8, 6, 4], low_pass, down=2, padding=[1] * 4)
    yield sample('odd size, crop', [1, 8, 5, 7], low_pass, down=2, padding=[2, -1, 1, 1])
    yield sample('same size, one-dimensional taps', [1, 2, 4, 5], setup_filter([1, 2, 3], separable=True), down=1,
                 padding=[1] * 4)  # fmt: skip
    yield sample('empty batch', [0, 8, 4, 4], low_pass, down=2, padding=[1] * 4)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    x = torch.randn(tuple(shape), device=device).to(dtype, memory_format=torch.channels_last)
    options = {'f': setup_filter([1, 3, 3, 1]).to(device), 'down': 2, 'padding': [1] * 4}
    yield Sample(name='down 2', inputs={'x': x}, options=options)


register_op(Op('filter_branch', _joined, _samples, operators=('upfirdn2d_add',), workloads=_workloads))
