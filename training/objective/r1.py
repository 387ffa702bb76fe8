"""R1, the gradient penalty on real images (Mescheder et al. 2018, Eq. 9), computed lazily.

Letters: N batch, C channels, H and W image size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dnnlib.config import require


@dataclass(frozen=True, kw_only=True, slots=True)
class R1Config:
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


def r1_penalty(
    img: torch.Tensor,  # [N, C, H, W], requires grad
    logits: torch.Tensor,  # [N, 1] = D(img)
) -> torch.Tensor:
    """Returns the squared norm of D's gradient at each image, [N] (Mescheder et al. 2018, without gamma / 2).

    At real images it is R1 (Eq. 9), at generated ones R2 (Eq. 10). The result carries a graph: D's second derivatives.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), img, create_graph=True)  # [N, C, H, W]
    return gradient.square().sum(dim=(1, 2, 3))  # [N]
