"""Weights of a whole network, prepared for its layers once per pass by one kernel instead of several per layer.

A network names the weights that its layers read; the layers take what is ready, and prepare what is not. This is why
layers work in networks that prepare nothing, such as those of plug-ins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from torch_utils.ops import dispatch
from torch_utils.ops.lowered_weights import Lowered, lower_weights


class Preparable(torch.nn.Module):
    """Base class of layers whose weights a network may prepare.

    Attributes:
        ready: Prepared weights by the names of the layer's parameters and buffers; empty outside of a pass.
    """

    ready: dict[str, Lowered]

    def __init__(self) -> None:
        super().__init__()
        self.ready = {}


@dataclass(frozen=True, slots=True)
class Request:
    """A weight to prepare; see `lower_weights`.

    Attributes:
        layer: Layer that reads the weight.
        name: Name of the parameter or buffer.
        gain: Factor.
        dtype: Dtype that the layer needs.
        squares: Whether it needs the sums of squares.
    """

    layer: Preparable
    name: str
    gain: float = 1
    dtype: torch.dtype = torch.float32
    squares: bool = False

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
    requests = [first, *asked]
    groups: dict[tuple[torch.dtype, bool], list[Request]] = {}
    for request in requests:
        groups.setdefault((request.dtype, request.squares), []).append(request)
    try:
        for (dtype, squares), group in groups.items():
            weights, gains = [r.weight for r in group], [r.gain for r in group]
            normalize = squares and dtype == torch.float16  # demodulation removes the scale
            lowered = lower_weights(weights, gains, dtype, normalize=normalize, squares=squares)
            for request, result in zip(group, lowered, strict=True):
                request.layer.ready[request.name] = result
        yield
    finally:
        for request in requests:
            request.layer.ready.clear()


def prepares(weight: torch.Tensor) -> bool:
    """Returns whether preparing saves launches: on CUDA with kernels. Compiled graphs fuse what layers do themselves.

    On a CPU a launch costs nothing, and the layers' own operations keep the bits of earlier versions.
    """
    return dispatch.pick('auto', weight) == 'cuda'
