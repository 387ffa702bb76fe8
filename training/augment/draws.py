"""Random numbers for a batch, drawn on the host, so that what they ask for is known without asking the device.

They come from torch's global CPU generator, which the training step seeds for each micro-batch. In float64.
Letters: N batch.
"""

from __future__ import annotations

import torch


def uniform(*shape: int) -> torch.Tensor:
    """Uniform in [0, 1), float64 [*shape]."""
    return torch.rand(shape, dtype=torch.float64, device='cpu')


def normal(*shape: int) -> torch.Tensor:
    """Standard normal, float64 [*shape]."""
    return torch.randn(shape, dtype=torch.float64, device='cpu')


def gated(value: torch.Tensor, probability: float, neutral: float = 0) -> torch.Tensor:
    """`value` [N, ...] for the images whose gate opens, `neutral` for the others: one gate an image.

    A probability above 1 is 1.
    """
    opened = uniform(len(value)) < probability  # [N]
    return torch.where(opened.view(-1, *[1] * (value.ndim - 1)), value, neutral)


def coin_sides(n: int, sides: int) -> torch.Tensor:
    """Whole numbers in [0, sides), equally likely, float64 [N]."""
    return (uniform(n) * sides).floor()
