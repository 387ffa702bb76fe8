"""R2, the gradient penalty on generated images (Mescheder et al. 2018, Eq. 10), computed in R1's phase."""

from __future__ import annotations

from dataclasses import dataclass

from dnnlib.config import require


@dataclass(frozen=True, kw_only=True, slots=True)
class R2Config:
    """Settings of R2. gamma: weight; 0 switches it off."""

    gamma: float = 0.0

    def __post_init__(self) -> None:
        require(self.gamma >= 0, 'r2.gamma', self.gamma, 'must be non-negative')
