"""Exponential moving average of the generator's weights (Karras et al. 2018, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dnnlib.config import require


@dataclass(frozen=True, kw_only=True, slots=True)
class EmaConfig:
    """Settings of the moving average of G's weights, which is sampled and measured.

    kimg: half-life. rampup: the half-life is at most this fraction of the images shown so far; None switches that off.
    """

    kimg: float = 10.0
    rampup: float | None = None

    def __post_init__(self) -> None:
        require(self.kimg >= 0, 'ema.kimg', self.kimg, 'must be non-negative')
        require(self.rampup is None or self.rampup > 0, 'ema.rampup', self.rampup, 'must be positive, or none')


def ema_beta(batch: int, ema_kimg: float, rampup: float | None, nimg: int) -> float:
    """Returns the decay of one step: 0.5 ^ (batch / half-life).

    Args:
        batch: number of images in the step.
        ema_kimg: half-life in thousands of images.
        rampup: limits the half-life to this fraction of `nimg`, so that the first average equals the first weights.
            None disables the limit.
        nimg: number of real images shown before this step.
    """
    half_life = ema_kimg * 1000
    if rampup is not None:
        half_life = min(half_life, nimg * rampup)
    return float(0.5 ** (batch / max(half_life, 1e-8)))


@torch.no_grad()
def update_ema(average: torch.nn.Module, net: torch.nn.Module, beta: float) -> None:
    """Moves the parameters of the average, and copies the buffers.

    Args:
        average: Network that holds the average; modified in place.
        net: Network to average.
        beta: Decay, the weight of the old average.
    """
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - beta)
    buffers = list(average.buffers())
    if buffers:
        torch._foreach_copy_(buffers, list(net.buffers()))
