"""Batch normalization in training mode without casts, with a second derivative of few launches.

Ioffe and Szegedy 2015, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift".
PyTorch's kernels read low precision and sum in float32: features need not be cast. PyTorch's second derivative is some
seventy operations one by one, which a gradient penalty through a discriminator with batch norm takes. Here it is the
first derivative's kernel, run twice, and about twenty operations, most of them on C numbers. Further derivatives are
PyTorch's.

With x' = r (x - mu), r = 1 / sqrt(var + eps), M numbers per channel, and sums over them:

    dx = gamma r (dy - sum(dy) / M - x' sum(dy x') / M),   dgamma = sum(dy x'),   dbeta = sum(dy)

Letters: N batch, C channels, H and W height and width.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor


def batch_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    momentum: float = 0.1,
    eps: float = 1e-5,
    fused: bool | None = None,
) -> torch.Tensor:
    """Normalizes every channel by the statistics of the batch, which are at least float32.

    Args:
        x: Features [N, C, H, W], any floating dtype.
        weight: Factor [C], at least float32; None: 1.
        bias: Summand [C], dtype of `weight`; None: 0.
        running_mean: Running mean [C], which the batch moves; None: none.
        running_var: Running variance [C], likewise.
        momentum: Share of the batch in the running statistics.
        eps: Added to the variance.
        fused: Whether to run without casts, except in compiled graphs; None: on CUDA if there is a factor.

    Returns:
        [N, C, H, W], dtype of `x`. Differentiable any number of times.
    """
    if fused is None:
        fused = x.device.type == 'cuda' and weight is not None  # the kernels' gradients need a factor
    if not fused or x.numel() == 0 or torch.compiler.is_compiling():
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return F.batch_norm(wide, running_mean, running_var, weight, bias, True, momentum, eps).to(x.dtype)
    if weight is None:
        weight = torch.ones([x.shape[1]], dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    if bias is None:
        bias = torch.zeros_like(weight)
    y: torch.Tensor = _BatchNorm.apply(x, weight, bias, running_mean, running_var, momentum, eps)
    return y


class _BatchNorm(torch.autograd.Function):
    """Batch normalization of x."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        momentum: float,
        eps: float,
    ) -> torch.Tensor:
        y, mean, invstd, reserve, kind = torch.ops.aten._batch_norm_impl_index(
            x, weight, bias, running_mean, running_var, True, momentum, eps, torch.backends.cudnn.enabled
        )
        ctx.save_for_backward(x, weight, mean, invstd, reserve)
        ctx.options = kind, eps
        result: torch.Tensor = y
        return result

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (*_Gradient.apply(dy, *ctx.saved_tensors, *ctx.options), None, None, None, None)


class _Gradient(torch.autograd.Function):
    """dx, dgamma and dbeta as functions of dy, x and gamma."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        dx, dgamma, dbeta = _first(*args)
        ctx.save_for_backward(*args[:-2], dgamma, dbeta)
        ctx.options = args[-2:]
        ctx.set_materialize_grads(False)
        return dx, dgamma, dbeta

    @staticmethod
    def backward(
        ctx: Any, of_dx: torch.Tensor | None, of_dgamma: torch.Tensor | None, of_dbeta: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        dy, x, weight, mean, invstd, _, dgamma, dbeta = ctx.saved_tensors
        if torch.is_grad_enabled():  # a third derivative may follow
            return (*_composite((of_dx, of_dgamma, of_dbeta), dy, x, weight, ctx.options[1]), *[None] * 5)
        found: Grads | None = None
        if of_dx is not None:
            found = _second(of_dx, *ctx.saved_tensors, *ctx.options)
        if of_dgamma is not None or of_dbeta is not None:
            found = _plus(found, of_dgamma, of_dbeta, dy, x, mean, invstd, dgamma, dbeta)
        return (*(found or (None, None, None)), *[None] * 5)


Grads = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]  # gradients of dy, x and gamma


def _first(
    dy: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    invstd: torch.Tensor,
    reserve: torch.Tensor,
    kind: int,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns dx, dgamma and dbeta.

    Args:
        dy: Gradient of the result.
        x: Features.
        weight: gamma, [C].
        mean: mu, [C].
        invstd: r, [C].
        reserve: What cuDNN keeps from forward to backward.
        kind: Which of PyTorch's forms ran forward.
        eps: As in `batch_norm`.
    """
    gradient = torch.ops.aten._batch_norm_impl_index_backward
    mask = [True, True, True]
    dx, dgamma, dbeta = gradient(kind, x, dy, weight, None, None, mean, invstd, True, eps, mask, reserve)
    return dx, dgamma, dbeta


def _composite(
    grads: tuple[torch.Tensor | None, ...], dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor | None, ...]:
    """Returns the gradients of dy, x and gamma by PyTorch's derivatives, for which it has further ones.

    Args:
        grads: Gradients of dx, dgamma and dbeta.
        dy: Gradient of the result.
        x: Features.
        weight: gamma, [C].
        eps: As in `batch_norm`.
    """
    # Views, because dy may depend on x, and the gradient of x has no part of that.
    inputs = [t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in (dy, x, weight)]
    affine = (inputs[2], torch.zeros_like(weight).requires_grad_())
    y = batch_norm(inputs[1], *affine, eps=eps, fused=False)
    outputs = torch.autograd.grad(y, (inputs[1], *affine), inputs[0], create_graph=True)
    known = [(output, grad) for output, grad in zip(outputs, grads, strict=True) if grad is not None]
    return torch.autograd.grad(
        [output for output, _ in known], inputs, [grad for _, grad in known], create_graph=True, allow_unused=True
    )


def _second(
    g: torch.Tensor,
    dy: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    invstd: torch.Tensor,
    reserve: torch.Tensor,
    dgamma: torch.Tensor,
    dbeta: torch.Tensor,
    kind: int,
    eps: float,
) -> Grads:
    """Returns the gradients of sum(g dx), which is symmetric in g and dy.

    With S = sum(g x'), T = sum(g) and M B = sum(dy g) - sum(dy) T / M - S dgamma / M:

        of gamma:  r M B
        of x:      -gamma r^2 / M (dgamma g + S dy + x' (M B - 2 S dgamma / M) - (dgamma T + S dbeta) / M)

    Args:
        g: Gradient of dx.
        dy: As in `_first`, and so are the other arguments that it has.
        x: Features.
        weight: gamma.
        mean: mu.
        invstd: r.
        reserve: Of cuDNN.
        dgamma: sum(dy x'), [C].
        dbeta: sum(dy), [C].
        kind: Form.
        eps: As in `batch_norm`.
    """
    share = x.shape[1] / x.numel()  # 1 / M
    of_dy, s, t = _first(g, x, weight, mean, invstd, reserve, kind, eps)
    # sum(dy (g - T / M)) r: dgamma of features g with mean T / M, summed in float32
    sums = torch.ops.aten.native_batch_norm_backward
    covariance = sums(dy, g, weight, None, None, t * share, invstd, True, eps, [False, True, False])[1]
    rs = invstd * s
    of_gamma = torch.addcmul(covariance, rs, dgamma, value=-share)
    factor = weight * invstd * invstd
    by_g, by_dy = factor * dgamma, factor * s
    by_x = factor * torch.addcmul(covariance, rs, dgamma, value=-3 * share)
    rest = torch.addcmul(torch.addcmul(by_x * mean, by_g, t, value=share), by_dy, dbeta, value=share) * share
    of_x = rest[:, None, None]
    for features, by in ((g, by_g), (dy, by_dy), (x, by_x)):
        of_x = torch.addcmul(of_x, features, by[:, None, None], value=-share)
    return of_dy, of_x.to(x.dtype), of_gamma


def _plus(
    grads: Grads | None,
    g: torch.Tensor | None,
    h: torch.Tensor | None,
    dy: torch.Tensor,
    x: torch.Tensor,
    mean: torch.Tensor,
    invstd: torch.Tensor,
    dgamma: torch.Tensor,
    dbeta: torch.Tensor,
) -> Grads:
    """Adds the gradients of sum(g dgamma + h dbeta). Arguments as in `_second`; `grads` are what they are added to."""
    share, zero = x.shape[1] / x.numel(), torch.zeros_like(mean)
    g, h = zero if g is None else g, zero if h is None else h
    normalized = (x - mean[:, None, None]) * invstd[:, None, None]
    of_dy = g[:, None, None] * normalized + h[:, None, None]
    away = dy - share * (dbeta[:, None, None] + normalized * dgamma[:, None, None])
    of_x = (g * invstd)[:, None, None] * away
    if grads is None:
        return of_dy.to(dy.dtype), of_x.to(x.dtype), None
    return grads[0] + of_dy.to(dy.dtype), grads[1] + of_x.to(x.dtype), grads[2]


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    wide = torch.promote_types(dtype, torch.float32)

    def sample(name: str, shape: Sequence[int], affine: bool = True) -> Sample:
        inputs = {'x': sample_tensor(shape, device, dtype)}
        if affine:
            inputs['weight'] = sample_tensor(shape[1:2], device, wide, seed=1)
            inputs['bias'] = sample_tensor(shape[1:2], device, wide, seed=2)
        return Sample(name=name, inputs=inputs, options={})

    yield sample('features', [3, 2, 4, 2])
    yield sample('not affine', [2, 3, 2, 3], affine=False)
    yield sample('one pixel', [5, 2, 1, 1])
    yield sample('empty batch', [0, 2, 4, 2])


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    c = shape[1]
    inputs = {'x': torch.randn(tuple(shape), device=device).to(dtype)}
    inputs |= {'weight': torch.randn(c, device=device), 'bias': torch.randn(c, device=device)}
    yield Sample(name='features', inputs=inputs, options={})


register_op(
    Op(
        'batch_norm',
        functools.partial(batch_norm, fused=True),
        _samples,
        reference=functools.partial(batch_norm, fused=False),
        workloads=_workloads,
    )
)
