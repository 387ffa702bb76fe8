"""Random numbers for a batch, drawn on the host in float64, so that no decision waits for the device.

They come from torch's global CPU generator, which the training step seeds for each micro-batch.

Letters: N batch.
"""

from __future__ import annotations

import torch


def uniform(*shape: int) -> torch.Tensor:
    """Draws uniform numbers in [0, 1), float64 [*shape]."""
    return torch.rand(shape, dtype=torch.float64, device='cpu')


def normal(*shape: int) -> torch.Tensor:
    """Draws standard normal numbers, float64 [*shape]."""
    return torch.randn(shape, dtype=torch.float64, device='cpu')


def gated(value: torch.Tensor, probability: float, neutral: float = 0) -> torch.Tensor:
    """Draws one gate per image and replaces the values of images whose gate is closed.

    Args:
        value: Values, [N, ...].
        probability: Probability that a gate opens; above 1 it acts as 1.
        neutral: Value of images whose gate is closed.

    Returns:
        [N, ...].
    """
    opened = uniform(len(value)) < probability  # [N]
    return torch.where(opened.view(-1, *[1] * (value.ndim - 1)), value, neutral)


def coin_sides(n: int, sides: int) -> torch.Tensor:
    """Draws uniform integers in [0, sides), float64 [N]."""
    return (uniform(n) * sides).floor()
