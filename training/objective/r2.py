"""R2, the gradient penalty on generated images (Mescheder et al. 2018, Eq. 10), computed in R1's phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dnnlib.config import require
from training.objective.r1 import gradient_summand, r1_penalty
from training.objective.term import Draw, Micro, Summand, Term, TermConfig, frequency, register_term

if TYPE_CHECKING:
    from training.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class R2Config(TermConfig):
    """Settings of R2. gamma: weight; 0 switches it off."""

    gamma: float = 0.0

    def __post_init__(self) -> None:
        require(self.gamma >= 0, 'r2.gamma', self.gamma, 'must be non-negative')

    @property
    def active(self) -> bool:
        """Whether gamma is positive."""
        return self.gamma > 0

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan."""
        return f'R2 {frequency(cfg.r1.interval)} (gamma {self.gamma:g})'


@register_term('r2', config=R2Config)
class R2(Term):
    """R2 on as many generated images as a micro-batch has real ones."""

    cfg: R2Config

    def regularize(self, micro: Micro, draw: Draw) -> Summand:
        """Returns gamma / 2 times the squared norm of D's gradient at generated images."""
        img, c = draw.fakes(len(micro.img))
        img = img.detach().requires_grad_(True)  # [N, C, H, W]
        return gradient_summand(self.name, self.cfg.gamma, r1_penalty(img, draw.score(img, c)))
