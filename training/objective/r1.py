"""R1, the gradient penalty on real images (Mescheder et al. 2018, Eq. 9), computed lazily.

Letters: N batch, C channels, H and W image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dnnlib.config import require
from training.objective.term import Draw, Micro, Summand, Term, TermConfig, frequency, register_term

if TYPE_CHECKING:
    from training.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class R1Config(TermConfig):
    """Settings of R1.

    gamma: weight; 0 switches it off.
    interval: number of iterations from one computation to the next. The gradient is multiplied by the interval and Adam
        is corrected (StyleGAN2, appendix B). None computes it in every step, within the main loss.
    """

    gamma: float = 10.0
    interval: int | None = 16

    def __post_init__(self) -> None:
        require(self.gamma >= 0, 'r1.gamma', self.gamma, '--gamma must be non-negative')
        require(self.interval is None or self.interval >= 1, 'r1.interval', self.interval, 'at least 1, or none')

    @property
    def active(self) -> bool:
        """Whether gamma is positive."""
        return self.gamma > 0

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan."""
        return f'R1 {frequency(self.interval)} (gamma {self.gamma:g})'


def r1_penalty(
    img: torch.Tensor,  # [N, C, H, W], requires grad
    logits: torch.Tensor,  # [N, 1] = D(img)
) -> torch.Tensor:
    """Returns the squared norm of D's gradient at each image, [N] (Mescheder et al. 2018, without gamma / 2).

    At real images it is R1 (Eq. 9), at generated ones R2 (Eq. 10). The result carries a graph: D's second derivatives.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), img, create_graph=True)  # [N, C, H, W]
    return gradient.square().sum(dim=(1, 2, 3))  # [N]


def gradient_summand(name: str, gamma: float, penalty: torch.Tensor) -> Summand:
    """Returns the weighted penalty, gamma / 2 times the squared norm, with its statistics.

    Args:
        name: Name of the term, 'r1' or 'r2'.
        gamma: Weight.
        penalty: Squared norm of D's gradient at each image, [N].
    """
    loss = penalty * (gamma / 2)  # [N]
    return Summand(loss=loss, statistics={f'Loss/{name}_penalty': penalty, 'Loss/D/reg': loss})


@register_term('r1', config=R1Config)
class R1(Term):
    """R1 on the real images of a micro-batch, at the image itself, through the augmentation."""

    cfg: R1Config

    def regularize(self, micro: Micro, draw: Draw) -> Summand:
        """Returns gamma / 2 times the squared norm of D's gradient at real images."""
        img = micro.img.detach().requires_grad_(True)  # [N, C, H, W]
        logits = draw.score_real(img, micro.c)  # [N, 1]
        return gradient_summand(self.name, self.cfg.gamma, r1_penalty(img, logits))
