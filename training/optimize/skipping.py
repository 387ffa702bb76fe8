"""Adagrad and RMSprop whose step a flag on the device can skip, as fused Adam's: the host does not wait for the flag.

The steps are PyTorch's, in its order of operations, with gradients of zero and without decay where the flag is set.
"""

from __future__ import annotations

from typing import Any

import torch

Group = dict[str, Any]
# torch._foreach_add_ and _foreach_mul_ read a tensor without dimensions as a number, for which the host waits.
ADD, MULTIPLY = torch.ops.aten._foreach_add_.Tensor, torch.ops.aten._foreach_mul_.Tensor


class Adagrad(torch.optim.Adagrad):
    """Adagrad (Duchi et al. 2011) without weight decay and decay of the learning rate."""

    def __init__(self, params: list[torch.nn.Parameter], lr: float, eps: float) -> None:
        super().__init__(params, lr=lr, eps=eps, foreach=True)
        for param, slots in self.state.items():
            slots['step'] = slots['step'].to(param.device)

    @torch.no_grad()
    def step_unless(self, skip: torch.Tensor) -> None:
        """Steps unless `skip`, bool [] on the parameters' device; whatever the gradients are then, nothing moves."""
        for group, params, grads in _with_gradients(self, skip):
            slots = [self.state[p] for p in params]
            sums = [slot['sum'] for slot in slots]
            ADD([slot['step'] for slot in slots], (~skip).float())
            torch._foreach_addcmul_(sums, grads, grads, value=1)
            roots = torch._foreach_sqrt(sums)
            torch._foreach_add_(roots, group['eps'])
            torch._foreach_addcdiv_(params, torch._foreach_mul(grads, -group['lr']), roots)


class RMSprop(torch.optim.RMSprop):
    """RMSprop (Tieleman and Hinton 2012) without momentum, weight decay and centering."""

    def __init__(self, params: list[torch.nn.Parameter], lr: float, alpha: float, eps: float) -> None:
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, foreach=True)

    @torch.no_grad()
    def step_unless(self, skip: torch.Tensor) -> None:
        """Steps unless `skip`, bool [] on the parameters' device; whatever the gradients are then, nothing moves."""
        for group, params, grads in _with_gradients(self, skip):
            slots = [self._slots(p) for p in params]
            averages = [slot['square_avg'] for slot in slots]
            decay = torch.full_like(skip, group['alpha'], dtype=torch.float32).masked_fill_(skip, 1)
            ADD([slot['step'] for slot in slots], (~skip).float())
            MULTIPLY(averages, decay)
            torch._foreach_addcmul_(averages, grads, grads, value=1 - group['alpha'])
            roots = torch._foreach_sqrt(averages)
            torch._foreach_add_(roots, group['eps'])
            torch._foreach_addcdiv_(params, grads, roots, value=-group['lr'])

    def _slots(self, param: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns the state of a parameter, made at its first step."""
        slots: dict[str, torch.Tensor] = self.state[param]
        if not slots:
            slots['step'] = torch.zeros([], device=param.device)
            slots['square_avg'] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return slots


def _with_gradients(
    optimizer: torch.optim.Optimizer, skip: torch.Tensor
) -> list[tuple[Group, list[torch.Tensor], list[torch.Tensor]]]:
    """Returns the groups with their parameters that have a gradient, and the gradients, which `skip` replaces by 0."""
    parts = []
    for group in optimizer.param_groups:
        params = [p for p in group['params'] if p.grad is not None]
        if params:
            parts.append((group, params, [p.grad.masked_fill(skip, 0) for p in params]))
    return parts
