"""Random weights that are the same on every machine, for tests and timing."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import torch
from torch import nn


def random_weights(make_network: Callable[[], nn.Module]) -> dict[str, torch.Tensor]:
    """Returns a state dict for a network, each tensor drawn from a generator that is seeded by its name.

    Variances follow He et al. 2015 (arXiv:1502.01852), so that activations keep their scale through the depth.
    """
    with torch.device('meta'):
        network = make_network()
    return {name: _draw(name, tensor.shape) for name, tensor in network.state_dict().items()}


def _draw(name: str, shape: torch.Size) -> torch.Tensor:
    leaf = name.rpartition('.')[2]
    if leaf == 'num_batches_tracked':
        return torch.zeros(shape, dtype=torch.int64)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    if leaf == 'running_var':
        return torch.rand(shape, generator=generator) + 0.5
    normal = torch.randn(shape, generator=generator)
    if leaf == 'weight' and len(shape) > 1:
        return normal * math.sqrt(2 / math.prod(shape[1:]))
    return 1 + 0.1 * normal if leaf == 'weight' else 0.1 * normal
