"""Detection of non-finite losses and gradients on the device, before the optimizer applies them.

The host never waits for the result. The device counts faults, and `training/run/recovery.py` reacts to the count when
the statistics are read at the end of the tick.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
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
    found = torch.zeros([], device=packed.device)  # becomes 1
    unscale = torch.ones_like(found) if loss_scale is None else loss_scale.factor.reciprocal()
    # One pass over the gradients, which divides the loss as well: nobody reads it again.
    torch._amp_foreach_non_finite_check_and_unscale_([packed], found, unscale)
    unsound = found > 0
    skip, fault = unsound, unsound
    if loss_scale is not None:
        # Gradients that are not finite although the loss is: the scaled ones exceeded the range of float16.
        overflow = unsound & (packed[-1].abs() < math.inf) & (loss_scale.factor > 1)
        loss_scale.update(overflow)
        stats.report_shared(OVERFLOW, overflow)
        fault = unsound & ~overflow
    if on_nan == 'mask':
        torch.nan_to_num_(packed[:-1], nan=0.0, posinf=LARGEST, neginf=-LARGEST)
        skip = torch.zeros_like(unsound) if loss_scale is None else overflow
    step_unless(optimizer, skip, lr_factor)
    stats.report_shared(NONFINITE, fault)
    return unsound


class Undo:
    """Copy of the values that a phase moves, from before the phase, which restores them after a fault.

    These are the networks' running statistics and further tensors. One copy holds all of a dtype, so that a phase takes
    the same few launches for any number of them.
    """

    def __init__(self, *nets: torch.nn.Module) -> None:
        named = (pair for net in nets for pair in net.named_buffers())
        self._buffers = [buffer for name, buffer in named if name.rpartition('.')[2] in RUNNING]
        self._alike: list[list[torch.Tensor]] = []  # tensors of each dtype
        self._before: list[torch.Tensor] = []  # their values, one after another

    def remember(self, others: Iterable[torch.Tensor] = ()) -> None:
        """Copies the running statistics and further tensors."""
        by_dtype: dict[torch.dtype, list[torch.Tensor]] = {}
        for tensor in (*self._buffers, *others):
            by_dtype.setdefault(tensor.dtype, []).append(tensor)
        self._alike = list(by_dtype.values())
        self._before = [_flat(tensors) for tensors in self._alike]

    def where(self, unsound: torch.Tensor) -> None:
        """Restores the copied values if `unsound`, bool []."""
        for tensors, before in zip(self._alike, self._before, strict=True):
            values = torch.where(unsound, before, _flat(tensors)).split([tensor.numel() for tensor in tensors])
            views = [value.view_as(tensor) for value, tensor in zip(values, tensors, strict=True)]
            torch._foreach_copy_(tensors, views)


def _flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Returns the values of tensors of one dtype, one after another in a tensor of their own."""
    return torch.cat([tensor.flatten() for tensor in tensors])
