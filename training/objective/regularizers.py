"""Regularisers: pure functions of tensors that carry a graph. Nothing is logged here.

Letters: N batch, C channels, H and W image size, L number of ws, D their width.
"""

from __future__ import annotations

import torch

SLOPE_EPS = 1e-12  # under the root: a gradient of exactly zero has no direction to grow in, and must not give a NaN


def r1_penalty(
    img: torch.Tensor,  # [N, C, H, W], requires grad
    logits: torch.Tensor,  # [N, 1] = D(img)
) -> torch.Tensor:
    """Squared norm of D's gradient at each image, [N] (Mescheder et al. 2018, Eq. 9 and 10, without gamma / 2).

    At real images it is R1, at generated ones R2. The result carries a graph: D's second derivatives.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), img, create_graph=True)  # [N, C, H, W]
    return gradient.square().sum(dim=(1, 2, 3))  # [N]


def interpolate(
    real: torch.Tensor,  # [N, C, H, W]
    fake: torch.Tensor,  # [N, C, H, W]
    share: torch.Tensor,  # [N, 1, 1, 1], uniform in [0, 1)
) -> torch.Tensor:
    """Points between pairs of real and generated images (Gulrajani et al. 2017, algorithm 1), [N, C, H, W]."""
    return fake.lerp(real, share).detach().requires_grad_(True)


def slope_penalty(
    img: torch.Tensor,  # [N, C, H, W], requires grad
    logits: torch.Tensor,  # [N, 1] = D(img)
) -> torch.Tensor:
    """How far the norm of D's gradient is from 1 at each image, squared, [N] (Gulrajani et al. 2017, Eq. 3).

    The result carries a graph: D's second derivatives.
    """
    return ((r1_penalty(img, logits) + SLOPE_EPS).sqrt() - 1).square()  # [N]


def path_lengths(
    img: torch.Tensor,  # [N, C, H, W] = synthesis(ws)
    ws: torch.Tensor,  # [N, L, D], requires grad
    direction: torch.Tensor,  # [N, C, H, W], standard normal
) -> torch.Tensor:
    """How far an image moves for a unit step of its ws, [N]: |J_w^T y| of StyleGAN2, Eq. 4.

    The step is counted as the root mean square over the L copies of w; y is scaled by 1 / sqrt(H W) to make the
    length independent of the resolution. The result carries a graph.
    """
    y = direction / (img.shape[2] * img.shape[3]) ** 0.5
    (jacobian,) = torch.autograd.grad((img * y).sum(), ws, create_graph=True)  # [N, L, D]
    return jacobian.square().sum(dim=2).mean(dim=1).sqrt()  # [N]


def path_length_penalty(
    lengths: torch.Tensor,  # [N], carries a graph
    mean: torch.Tensor,  # [], the running mean a
    decay: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """StyleGAN2, Eq. 4: (|J_w^T y| - a)^2, [N], and the new running mean, detached.

    The mean moves first and the gradient flows through that step, as in the official implementation.
    """
    moved = mean.lerp(lengths.mean(), decay)
    return (lengths - moved).square(), moved.detach()
