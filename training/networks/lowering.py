"""Weights of a whole network, prepared for its layers once per pass by one kernel instead of several per layer.

A network names the weights that its layers read; the layers take what is ready, and prepare what is not. This is why
layers work in networks that prepare nothing, such as those of plug-ins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from torch_utils.ops import dispatch
from torch_utils.ops.lowered_weights import Lowered, lower_weights
from torch_utils.ops.spectral_weights import spectral_weights


class Preparable(torch.nn.Module):
    """Base class of layers whose weights a network may prepare. Arguments are those of the next class.

    Attributes:
        ready: Prepared weights by the names of the layer's parameters and buffers; empty outside of a pass.
    """

    ready: dict[str, Lowered]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ready = {}


@dataclass(frozen=True, slots=True)
class Norm:
    """Spectral normalization of a weight; see `spectral_weights`.

    Attributes:
        u: Buffer u.
        out_dim: Dimension of the output features.
        iterate: Whether a power iteration precedes, which changes the buffer.
    """

    u: torch.Tensor
    out_dim: int
    iterate: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A weight to prepare; see `lower_weights`.

    Attributes:
        layer: Layer that reads the weight.
        name: Name of the parameter or buffer.
        gain: Factor.
        dtype: Dtype that the layer needs.
        squares: Whether it needs the sums of squares.
        norm: Spectral normalization in place of the factor; None: none.
    """

    layer: Preparable
    name: str
    gain: float = 1
    dtype: torch.dtype = torch.float32
    squares: bool = False
    norm: Norm | None = None

    @property
    def weight(self) -> torch.Tensor:
        """The weight itself."""
        weight: torch.Tensor = getattr(self.layer, self.name)
        return weight


@contextmanager
def prepared(requests: Iterable[Request]) -> Iterator[None]:
    """Prepares weights for the layers that run inside the `with` block, if `prepares` says so.

    Args:
        requests: The weights. A layer that asked with other values than those with which it runs gets wrong ones.
    """
    asked = iter(()) if torch.compiler.is_compiling() else iter(requests)
    first = next(asked, None)
    if first is None or not prepares(first.weight):  # the layers' other weights are not looked for
        yield
        return
    # Layers in other dtypes, such as those of a check in float64, do not run in the dtype that they ask for.
    requests = [request for request in (first, *asked) if request.weight.dtype == torch.float32]
    if not normalizes(first.weight):
        requests = [request for request in requests if request.norm is None]
    try:
        _lower([request for request in requests if request.norm is None])
        _normalize([request for request in requests if request.norm is not None])
        yield
    finally:
        for request in requests:
            request.layer.ready.clear()


def _lower(requests: Iterable[Request]) -> None:
    """Scales and casts weights for their layers, those of equal form together."""
    groups: dict[tuple[torch.dtype, bool], list[Request]] = {}
    for request in requests:
        groups.setdefault((request.dtype, request.squares), []).append(request)
    for (dtype, squares), group in groups.items():
        weights, gains = [r.weight for r in group], [r.gain for r in group]
        normalize = squares and dtype == torch.float16  # demodulation removes the scale
        lowered = lower_weights(weights, gains, dtype, normalize=normalize, squares=squares)
        for request, result in zip(group, lowered, strict=True):
            request.layer.ready[request.name] = result


def _normalize(requests: Iterable[Request]) -> None:
    """Normalizes weights for their layers, and moves the buffers u of those that iterate."""
    groups: dict[bool, list[tuple[Request, Norm]]] = {}
    for request in requests:
        assert request.norm is not None
        groups.setdefault(request.norm.iterate, []).append((request, request.norm))
    for iterate, group in groups.items():
        weights, dtypes = [r.weight for r, _ in group], [r.dtype for r, _ in group]
        us, out_dims = [norm.u for _, norm in group], [norm.out_dim for _, norm in group]
        normalized = spectral_weights(weights, us, out_dims, dtypes, iterate=iterate)
        if iterate:
            with torch.no_grad():
                torch._foreach_copy_(us, [result.u for result in normalized])
        for (request, _), result in zip(group, normalized, strict=True):
            request.layer.ready[request.name] = Lowered(result.weight, None)


def prepares(weight: torch.Tensor) -> bool:
    """Returns whether there are kernels that prepare weights. Compiled graphs fuse what layers do themselves."""
    return dispatch.pick('auto', weight) != 'ref'


def normalizes(weight: torch.Tensor) -> bool:
    """Returns whether there are kernels that normalize prepared weights: on CUDA, where they save launches."""
    return dispatch.pick('auto', weight) == 'cuda'
