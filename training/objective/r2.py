"""R2, the gradient penalty on generated images (Mescheder et al. 2018, Eq. 10), computed in R1's phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dnnlib.config import require
from training.objective.r1 import InputGradient, check_shared, describe_gamma
from training.objective.term import Draw, Micro, TermConfig, frequency, register_term

if TYPE_CHECKING:
    from training.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class R2Config(TermConfig):
    """Settings of R2. gamma: weight; 0 switches it off. shared: as in R1."""

    gamma: float = 0.0
    shared: bool = False

    def __post_init__(self) -> None:
        require(self.gamma >= 0, 'r2.gamma', self.gamma, 'must be non-negative')

    @property
    def active(self) -> bool:
        """Whether gamma is positive."""
        return self.gamma > 0

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan."""
        return f'R2 {frequency(cfg.r1.interval)} ({describe_gamma(self.gamma, cfg)})'

    def check(self, name: str, cfg: RunConfig) -> None:
        """Raises ConfigError if a shared penalty is lazy."""
        check_shared(name, self.shared, cfg)


@register_term('r2', config=R2Config)
class R2(InputGradient):
    """R2 on as many generated images as a micro-batch has real ones."""

    generated = True

    def score(self, micro: Micro, draw: Draw) -> tuple[torch.Tensor, torch.Tensor]:
        img, c = draw.fakes(len(micro.img))
        img = img.detach().requires_grad_(True)  # [N, C, H, W]
        return img, draw.score(img, c)
