"""Losses and gradients that are not finite: found on the device before the optimiser steps, and kept from doing harm.

A step never waits for the device to know. Faults are counted there, and the end of the tick, where statistics are read,
decides what follows (`recovery.py`): at the next tick at the latest, which is after as many images as a tick has.
"""

from __future__ import annotations

import torch

from torch_utils.stats import Collector
from training.config import OnNan
from training.optimize.loss_scale import LossScale
from training.optimize.optimizers import step_unless

NONFINITE = 'Health/nonfinite_steps'  # 1 for an optimiser step whose losses or gradients were not finite, else 0
OVERFLOW = 'Health/overflow_steps'  # 1 for one that only float16's range was too small for
LARGEST = 1e5  # what an infinite gradient is masked by, as StyleGAN2-ADA does

RUNNING = ('w_avg', 'running_mean', 'running_var')  # buffers that a forward pass moves by what it has computed


def guarded_step(
    optimizer: torch.optim.Optimizer,
    packed: torch.Tensor,  # [numbers + 1], gradients, which the parameters' are views of, then the sum of the losses
    lr_factor: float,
    *,
    on_nan: OnNan,
    loss_scale: LossScale | None,
    stats: Collector,
) -> torch.Tensor:
    """One optimiser step, left out where it would do harm. Returns whether anything was not finite, bool [].

    The sum of the losses stands among the gradients, so that whoever adds up several processes' gradients has added
    these too, and all agree. 'mask' steps on what is left when NaN is 0 and infinities are +-1e5, as StyleGAN2-ADA.
    """
    grads, loss = packed[:-1], packed[-1]
    unsound = ~packed.isfinite().all()
    overflow = torch.zeros_like(unsound)
    if loss_scale is not None:
        overflow = unsound & loss.isfinite() & ~loss_scale.lowest
        grads.div_(loss_scale.factor)
        loss_scale.update(overflow)
        stats.report_shared(OVERFLOW, overflow)
    if on_nan == 'mask':
        torch.nan_to_num_(grads, nan=0.0, posinf=LARGEST, neginf=-LARGEST)
    step_unless(optimizer, overflow if on_nan == 'mask' else unsound, lr_factor)
    stats.report_shared(NONFINITE, unsound & ~overflow)
    return unsound


class Undo:
    """Running statistics of networks as they stood before a phase: a fault in it must not stay in them for ever."""

    def __init__(self, *nets: torch.nn.Module) -> None:
        named = (pair for net in nets for pair in net.named_buffers())
        self._buffers = [buffer for name, buffer in named if name.rpartition('.')[2] in RUNNING]
        self._before = [torch.empty_like(buffer) for buffer in self._buffers]

    def remember(self) -> None:
        """Copies what there is."""
        for before, buffer in zip(self._before, self._buffers, strict=True):
            before.copy_(buffer)

    def where(self, unsound: torch.Tensor) -> None:
        """Puts back what was remembered if `unsound`, bool []."""
        for before, buffer in zip(self._before, self._buffers, strict=True):
            buffer.copy_(torch.where(unsound, before, buffer))
