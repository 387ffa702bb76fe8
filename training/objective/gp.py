"""The gradient penalty of WGAN-GP between real and generated images (Gulrajani et al. 2017), in every step of D.

Letters: N batch, C channels, H and W image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dnnlib.config import require
from training.objective.r1 import r1_penalty
from training.objective.term import Summand, Term, TermConfig, register_term

if TYPE_CHECKING:
    from training.config import RunConfig

# Added under the root: a gradient of exactly zero has no direction to grow in, and must not give a NaN.
SLOPE_EPS = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientPenaltyConfig(TermConfig):
    """Settings of the gradient penalty. weight: lambda; 0 switches it off."""

    weight: float = 0.0

    def __post_init__(self) -> None:
        require(self.weight >= 0, 'gp.weight', self.weight, 'must be non-negative')

    @property
    def active(self) -> bool:
        """Whether the weight is positive."""
        return self.weight > 0

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan."""
        return f'gradient penalty in every step (weight {self.weight:g})'


def interpolate(real: torch.Tensor, fake: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Returns points between pairs of real and generated images (Gulrajani et al. 2017, algorithm 1).

    Args:
        real: Real images, [N, C, H, W].
        fake: Generated images, [N, C, H, W].
        share: Share of the real image in each point, uniform in [0, 1), [N, 1, 1, 1].

    Returns:
        Points, [N, C, H, W], detached; they require gradients.
    """
    return fake.lerp(real, share).detach().requires_grad_(True)


def slope_penalty(
    img: torch.Tensor,  # [N, C, H, W], requires grad
    logits: torch.Tensor,  # [N, 1] = D(img)
) -> torch.Tensor:
    """Returns (|gradient of D| - 1)^2 at each image, [N] (Gulrajani et al. 2017, Eq. 3).

    The result carries a graph: D's second derivatives.
    """
    return ((r1_penalty(img, logits) + SLOPE_EPS).sqrt() - 1).square()  # [N]


@register_term('gp', config=GradientPenaltyConfig)
class GradientPenalty(Term):
    """The penalty at one point between each pair of images. The images are augmented, the points are not once more."""

    cfg: GradientPenaltyConfig

    def between(self, real: torch.Tensor, fake: torch.Tensor, c: torch.Tensor) -> Summand:
        """Returns weight times (|gradient of D| - 1)^2, averaged over the points.

        Args:
            real: Real images as D saw them, [N, C, H, W].
            fake: Generated images as D saw them, [N, C, H, W].
            c: Labels of the real images, [N, label_dim].
        """
        share = torch.rand([len(fake), 1, 1, 1], device=fake.device)
        img = interpolate(real, fake, share)  # [N, C, H, W]
        penalty = slope_penalty(img, self.D(img, c))  # [N]
        return Summand(loss=penalty.mean() * self.cfg.weight, statistics={'Loss/gradient_penalty': penalty})
