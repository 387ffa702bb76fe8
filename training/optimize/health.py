"""Detection of non-finite losses and gradients on the device, before the optimizer applies them.

The host never waits for the result. The device counts faults, and `training/run/recovery.py` reacts to the count when
the statistics are read at the end of the tick.
"""

from __future__ import annotations

from typing import Literal

import torch

from torch_utils.stats import Collector
from training.optimize.loss_scale import LossScale
from training.optimize.optimizers import step_unless

OnNan = Literal['skip', 'rollback', 'abort', 'mask']

NONFINITE = 'Health/nonfinite_steps'  # 1 for an optimizer step with non-finite losses or gradients, else 0
OVERFLOW = 'Health/overflow_steps'  # 1 for a step that only exceeded the range of float16
LARGEST = 1e5  # replaces an infinite gradient, as in StyleGAN2-ADA

RUNNING = ('w_avg', 'running_mean', 'running_var')  # buffers that a forward pass updates


def guarded_step(
    optimizer: torch.optim.Optimizer,
    packed: torch.Tensor,  # [P + 1], gradients (the parameters' gradients are views of them), then the sum of losses
    lr_factor: float,
    *,
    on_nan: OnNan,
    loss_scale: LossScale | None,
    stats: Collector,
) -> torch.Tensor:
    """Steps the optimizer unless losses or gradients are not finite.

    The sum of the losses is stored behind the gradients, so that one reduction over the processes covers both and all
    processes reach the same decision.

    Args:
        optimizer: the optimizer of the network.
        packed: float32 [P + 1] for P numbers with a gradient; modified in place.
        lr_factor: factor on the learning rates.
        on_nan: reaction to a fault. 'mask' replaces NaN by 0 and infinity by +-1e5, as StyleGAN2-ADA does, and steps;
            any other value skips the step.
        loss_scale: the loss scale under float16, else None.
        stats: receives `Health/nonfinite_steps` and `Health/overflow_steps`.

    Returns:
        Whether a loss or gradient was not finite, bool [].
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
    """Copy of the networks' running statistics from before a phase, which restores them after a fault."""

    def __init__(self, *nets: torch.nn.Module) -> None:
        named = (pair for net in nets for pair in net.named_buffers())
        self._buffers = [buffer for name, buffer in named if name.rpartition('.')[2] in RUNNING]
        self._before = [torch.empty_like(buffer) for buffer in self._buffers]

    def remember(self) -> None:
        """Copies the running statistics."""
        for before, buffer in zip(self._before, self._buffers, strict=True):
            before.copy_(buffer)

    def where(self, unsound: torch.Tensor) -> None:
        """Restores the copied values if `unsound`, bool []."""
        for before, buffer in zip(self._before, self._buffers, strict=True):
            buffer.copy_(torch.where(unsound, before, buffer))
