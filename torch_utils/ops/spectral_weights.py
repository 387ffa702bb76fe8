"""Spectral normalization of all weights of a network at once, with gradients of two orders.

Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks". The kernels take four launches for all
weights of a pass and two for their gradients, in place of about twenty per weight.

Letters: O output features, J everything else, W weight as a matrix [O, J].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from torch_utils.ops import dispatch
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor

EPSILON = 1e-12  # smallest divisor, as in F.normalize


class Spectral(NamedTuple):
    """A normalized weight.

    Attributes:
        weight: W / sigma(W), in the shape of the weight.
        u: u with which it is normalized, [O]; a copy, for the graph may need it after the next iteration.
    """

    weight: torch.Tensor
    u: torch.Tensor


def spectral_weights(
    weights: Sequence[torch.Tensor],
    us: Sequence[torch.Tensor],
    out_dims: Sequence[int],
    dtypes: Sequence[torch.dtype],
    *,
    iterate: bool,
    impl: str = 'auto',
) -> list[Spectral]:
    """Normalizes weights, W / sigma(W) with sigma(W) = |W^T u|, and casts them.

    v = W^T u is part of the graph. At convergence, value and first derivative of sigma equal those of u^T W v with
    fixed v. In addition, the derivatives of all orders are exact, as a gradient penalty through the layer requires.
    u is a constant of the graph.

    Args:
        weights: Weights [O, I, ...], or [I, O, ...] if their `out_dims` is 1; float32, at least one.
        us: u of each weight, [O]; not changed.
        out_dims: Dimension of the output features of each weight, 0 or 1.
        dtypes: Dtype of each result: that of its weight, or a second one.
        iterate: Whether a power iteration precedes: u = W W^T u, normalized.
        impl: 'ref', 'cpu', 'cuda', or 'auto' for the fastest available. The kernels return weights [O, I, k, k] in
            channels-last format, the reference in their own.

    Returns:
        A result per weight.

    Raises:
        ConfigError: If the implementation is not available.
    """
    if dispatch.pick(impl, weights[0]) == 'ref':
        return [_reference(*each, iterate) for each in zip(weights, us, out_dims, dtypes, strict=True)]
    lowered = [dtype != w.dtype for w, dtype in zip(weights, dtypes, strict=True)]
    low = {dtype for dtype, low in zip(dtypes, lowered, strict=True) if low} or {weights[0].dtype}
    assert len(low) == 1, f'a second dtype, got {low}'
    transposed = [dim == 1 for dim in out_dims]
    n = len(weights)
    out = torch.ops.ganfoundry.spectral_weights(list(weights), list(us), transposed, lowered, low.pop(), iterate)
    return [Spectral(out[i], out[n + i]) for i in range(n)]


def _reference(weight: torch.Tensor, u: torch.Tensor, out_dim: int, dtype: torch.dtype, iterate: bool) -> Spectral:
    w = weight.transpose(0, out_dim).flatten(1)  # [O, J]
    with torch.no_grad():
        if iterate:
            v = F.normalize(w.t() @ u, dim=0, eps=EPSILON)  # [J]
            u = F.normalize(w @ v, dim=0, eps=EPSILON)
        else:
            u = u.clone()
    return Spectral((weight / torch.linalg.vector_norm(w.t() @ u)).to(dtype), u)


def _flat(first: torch.Tensor, second: torch.Tensor, us: Sequence[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """Returns the normalized forms of two weights in one tensor [O, numbers], for the contract of operations.

    Args:
        first: Weight [O, ...].
        second: Weight [I, O, ...].
        us: u of each.
        dtype: Dtype of the second result.
    """
    weights, us = [first.to(second.dtype), second], [u.to(second.dtype) for u in us]
    results = spectral_weights(weights, us, [0, 1], [second.dtype, dtype], iterate=False)
    return torch.cat([r.weight.transpose(0, dim).flatten(1).to(first.dtype) for dim, r in enumerate(results)], dim=1)


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    wide = torch.promote_types(dtype, torch.float32)

    def sample(name: str, first: Sequence[int], second: Sequence[int]) -> Sample:
        inputs = {'first': sample_tensor(first, device, dtype), 'second': sample_tensor(second, device, wide, seed=1)}
        us = [sample_tensor([first[0]], device, wide, seed=2), sample_tensor([second[1]], device, wide, seed=3)]
        return Sample(name=name, inputs=inputs, options={'us': us, 'dtype': dtype})

    yield sample('kernels', [3, 2, 3, 3], [2, 3, 1, 2])
    yield sample('matrices', [3, 4], [2, 3])
    yield sample('empty batch', [0, 2, 3, 3], [2, 0, 1, 1])


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    n, c = shape[:2]
    inputs = {'first': torch.randn(n, c, 3, 3, device=device), 'second': torch.randn(c, n, 3, 3, device=device)}
    us = [torch.randn(n, device=device), torch.randn(n, device=device)]
    yield Sample(name='two kernels', inputs=inputs, options={'us': us, 'dtype': dtype})


register_op(
    Op(
        'spectral_weights',
        _flat,
        _samples,
        operators=('spectral_weights', 'spectral_weights_backward'),
        workloads=_workloads,
    )
)
