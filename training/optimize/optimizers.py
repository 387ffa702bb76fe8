"""Optimizers: construction, packed gradients, the decay of the learning rate, and conditional steps.

A flag on the device can skip a step: it is read there, and the host does not wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from dnnlib.config import require
from training.optimize.skipping import Adagrad, RMSprop


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """Settings of an optimizer before the correction for lazy regularization.

    kind: 'adam' (Kingma and Ba 2015), 'adagrad' (Duchi et al. 2011) or 'rmsprop' (Tieleman and Hinton 2012; its decay
    is beta2). beta1 and beta2 are Adam's otherwise.
    """

    kind: Literal['adam', 'adagrad', 'rmsprop'] = 'adam'
    lr: float = 0.002
    beta1: float = 0.0
    beta2: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        require(self.kind in ('adam', 'adagrad', 'rmsprop'), 'kind', self.kind, 'one of adam, adagrad, rmsprop')
        require(self.lr > 0, 'lr', self.lr, 'must be positive')
        require(0 <= self.beta1 < 1, 'beta1', self.beta1, 'must lie in [0, 1)')
        require(0 <= self.beta2 < 1, 'beta2', self.beta2, 'must lie in [0, 1)')


def make_optimizer(net: torch.nn.Module, cfg: OptimizerConfig, reg_interval: int | None) -> torch.optim.Optimizer:
    """Returns the optimizer of a network, corrected for lazy regularization (StyleGAN2, appendix B).

    Args:
        net: the network.
        cfg: kind, learning rate and moments before the correction.
        reg_interval: regularization runs every so many steps, k; None if there is no lazy phase. The optimizer then
            takes k + 1 steps instead of k, so that c = k / (k + 1) gives lr' = c lr and beta' = beta^c.
    """
    c = 1.0 if reg_interval is None else reg_interval / (reg_interval + 1)
    params, lr = list(net.parameters()), cfg.lr * c
    optimizer: torch.optim.Optimizer
    if cfg.kind == 'adam':
        betas = (float(cfg.beta1**c), float(cfg.beta2**c))
        optimizer = torch.optim.Adam(params, lr=lr, betas=betas, eps=cfg.eps, fused=True)
    elif cfg.kind == 'adagrad':
        optimizer = Adagrad(params, lr=lr, eps=cfg.eps)
    else:
        optimizer = RMSprop(params, lr=lr, alpha=cfg.beta2**c, eps=cfg.eps)
    for group in optimizer.param_groups:
        group['initial_lr'], group['lazy_c'] = lr, c
    return optimizer


def set_beta2(optimizer: torch.optim.Optimizer, beta2: float) -> None:
    """Sets Adam's decay of the second moment, given before the correction for lazy regularization."""
    for group in optimizer.param_groups:
        group['betas'] = (group['betas'][0], float(beta2 ** group['lazy_c']))


def lr_scale(nimg: int, kimg: int, lr_decay_kimg: float) -> float:
    """Returns the factor on every learning rate: 1, and over the last images of a run linearly to 0.

    Args:
        nimg: Real images shown so far.
        kimg: Length of the run, in thousands of images.
        lr_decay_kimg: Length of the decay at the end of the run, in thousands of images; 0 switches it off.
    """
    if lr_decay_kimg == 0:
        return 1.0
    return min(max(kimg * 1000 - nimg, 0) / (lr_decay_kimg * 1000), 1.0)


class GradientBuffer:
    """Flat tensor with all gradients of a network, so that they are checked and reduced in one piece.

    Tensors whose size is no multiple of four come last. All others then begin at a multiple of 16 bytes, which fused
    Adam needs for reading four numbers at a time.
    """

    def __init__(self, net: torch.nn.Module) -> None:
        self.params = sorted(net.parameters(), key=lambda p: p.numel() % 4 != 0)
        self.flat = torch.empty(sum(p.numel() for p in self.params) + 1, device=self.params[0].device)
        self._opened: list[torch.Tensor] = []  # gradients at their places since `open`

    def open(self, params: list[torch.nn.Parameter]) -> None:
        """Sets the gradients of `params`, in the order of `self.params`, to zeros at their places in the buffer."""
        size = sum(p.numel() for p in params)
        self._opened = [
            part.view_as(p) for p, part in zip(params, _parts(self.flat[:size].zero_(), params), strict=True)
        ]
        for p, gradient in zip(params, self._opened, strict=True):
            p.grad = gradient

    def gather(self, loss: torch.Tensor) -> torch.Tensor:
        """Packs the gradients and `loss` [], detached; the gradients become views of the packed tensor.

        Returns float32 [P + 1] for P numbers with a gradient. A parameter without a gradient keeps None, and the
        optimizer skips it.
        """
        params = [p for p in self.params if p.grad is not None]
        grads = [p.grad for p in params if p.grad is not None]
        opened, self._opened = self._opened, []
        if opened and len(grads) == len(opened) and all(a is b for a, b in zip(grads, opened, strict=True)):
            size = sum(g.numel() for g in grads)
            self.flat[size].copy_(loss)
            return self.flat[: size + 1]
        parts = [*(g.flatten() for g in grads), loss.float().view(1)]
        packed = self.flat[: sum(part.numel() for part in parts)]
        if opened:  # a parameter has a gradient now that had none when the others got their places
            packed.copy_(torch.cat(parts))
        else:
            torch.cat(parts, out=packed)
        for p, g in zip(params, _parts(packed[:-1], params), strict=True):
            p.grad = g.view_as(p)
        return packed

    def clear(self) -> None:
        """Removes all gradients."""
        for p in self.params:
            p.grad = None

    def fill(self, packed: torch.Tensor) -> torch.Tensor:
        """Replaces the gradients gathered last by `packed`, which has the same size, and returns them."""
        return self.flat[: len(packed)].copy_(packed)


def _parts(flat: torch.Tensor, params: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    """Returns the parts of a flat tensor, one per parameter and as long."""
    return list(flat.split([p.numel() for p in params]))


def step_unless(optimizer: torch.optim.Optimizer, skip: torch.Tensor, scale: float) -> None:
    """Steps the optimizer unless `skip` is true.

    Args:
        optimizer: The optimizer.
        skip: Whether to skip the step, bool [] on the parameters' device.
        scale: Factor on the learning rate.
    """
    for group in optimizer.param_groups:
        group['lr'] = group['initial_lr'] * scale
    if isinstance(optimizer, Adagrad | RMSprop):
        optimizer.step_unless(skip)
    else:
        optimizer.found_inf = skip.float()  # type: ignore[attr-defined]  # fused Adam reads it on the device
        optimizer.step()
