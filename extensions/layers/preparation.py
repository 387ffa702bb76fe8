"""Preparation of a pass: work for all layers of a network at once, because every launch on a GPU costs host time.

A layer that runs outside such a pass does its own part, in several launches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from extensions.layers.batch_norm import BatchNorm2d
from extensions.layers.spectral_norm import NormalizedLayer
from training.networks.layers import LowerableBlock
from training.networks.lowering import Request, prepared


class Preparation:
    """Layers that the passes of a network prepare; its constructor makes one when all layers exist.

    A pass does not search for them: walking through the modules takes the host as long as ten launches.

    Attributes:
        layers: Layers whose weights are prepared, each with its block, None outside of blocks of lower precision.
        norms: Batch norms, whose batches are counted.
    """

    def __init__(self, net: torch.nn.Module) -> None:
        self.layers = list(_layers(net, None))
        self.norms = [module for module in net.modules() if isinstance(module, BatchNorm2d)]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Prepares the layers for the pass inside a `with` block. Every spectrally normalized layer must run in it."""
        moving = [norm for norm in self.norms if norm.moves()]
        together = bool(moving) and moving[0].is_fast() and not torch.compiler.is_compiling()
        if together:
            torch._foreach_add_([norm.num_batches_tracked for norm in moving], 1)
        for norm in moving:
            norm.counted = together
        try:
            with prepared(self.requests()):
                yield
        finally:
            for norm in moving:
                norm.counted = False

    def requests(self) -> Iterator[Request]:
        """Yields the weights to prepare."""
        for layer, block in self.layers:
            yield from layer.requests(torch.float32 if block is None else block.dtype)


def _layers(
    part: torch.nn.Module, block: LowerableBlock | None
) -> Iterator[tuple[NormalizedLayer, LowerableBlock | None]]:
    """Yields the layers of a part of a network, which belongs to a block."""
    block = part if isinstance(part, LowerableBlock) else block
    if isinstance(part, NormalizedLayer):
        yield part, block
    for child in part.children():
        yield from _layers(child, block)
