"""Tensors for tests."""

from __future__ import annotations

import torch


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, dtype=torch.float64, generator=generator) * 2 - 1


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)
