"""The moving average of the generator's weights (Karras et al. 2018, section 4)."""

from __future__ import annotations

import torch


def ema_beta(batch: int, ema_kimg: float, rampup: float | None, nimg: int) -> float:
    """The share of the old average that a step of `batch` images keeps: 0.5 ^ (batch / half-life in images).

    nimg: real images shown before this step. With a ramp-up the half-life is at most that fraction of nimg, so the
    first average is the first weights.
    """
    half_life = ema_kimg * 1000
    if rampup is not None:
        half_life = min(half_life, nimg * rampup)
    return 0.5 ** (batch / max(half_life, 1e-8))


@torch.no_grad()
def update_ema(average: torch.nn.Module, net: torch.nn.Module, beta: float) -> None:
    """Moves `average`'s parameters towards `net`'s, and copies its buffers."""
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - beta)
    buffers = list(average.buffers())
    if buffers:
        torch._foreach_copy_(buffers, list(net.buffers()))
