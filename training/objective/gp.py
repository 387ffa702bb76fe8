"""The gradient penalty of WGAN-GP between real and generated images (Gulrajani et al. 2017), in every step of D.

Letters: N batch, C channels, H and W image size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dnnlib.config import require
from training.objective.r1 import r1_penalty

SLOPE_EPS = 1e-12  # under the root: a gradient of exactly zero has no direction to grow in, and must not give a NaN


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientPenaltyConfig:
    """Settings of the gradient penalty. weight: lambda; 0 switches it off."""

    weight: float = 0.0

    def __post_init__(self) -> None:
        require(self.weight >= 0, 'gp.weight', self.weight, 'must be non-negative')


def interpolate(
    real: torch.Tensor,  # [N, C, H, W]
    fake: torch.Tensor,  # [N, C, H, W]
    share: torch.Tensor,  # [N, 1, 1, 1], uniform in [0, 1)
) -> torch.Tensor:
    """Returns points between pairs of real and generated images, [N, C, H, W] (Gulrajani et al. 2017, algorithm 1)."""
    return fake.lerp(real, share).detach().requires_grad_(True)


def slope_penalty(
    img: torch.Tensor,  # [N, C, H, W], requires grad
    logits: torch.Tensor,  # [N, 1] = D(img)
) -> torch.Tensor:
    """Returns (|gradient of D| - 1)^2 at each image, [N] (Gulrajani et al. 2017, Eq. 3).

    The result carries a graph: D's second derivatives.
    """
    return ((r1_penalty(img, logits) + SLOPE_EPS).sqrt() - 1).square()  # [N]
