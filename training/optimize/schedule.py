"""Schedules of a run: values that move from the field of the config to a final value, as functions of the images shown.

R3GAN (Huang et al. 2024, section 4 and appendix B) calls this the burn-in: at the beginning the learning rate and the
gradient penalties are large, the horizon of Adam's second moment and of the moving average is short, and there is no
augmentation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dnnlib.config import require

if TYPE_CHECKING:
    from training.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """Values at the end of the schedules, which begin at the values of other fields. None: constant.

    kimg: length of the schedules, in thousands of images.
    lr: learning rate of both networks, from g_opt.lr and d_opt.lr.
    beta2: of Adam for both networks, from g_opt.beta2 and d_opt.beta2.
    gamma: weight of R1 and R2, from r1.gamma and r2.gamma.
    ema_kimg: half-life of the moving average, from ema.kimg.
    p: strength of aug.kind=fixed, from aug.p.
    """

    kimg: float = 0.0
    lr: float | None = None
    beta2: float | None = None
    gamma: float | None = None
    ema_kimg: float | None = None
    p: float | None = None

    def __post_init__(self) -> None:
        require(self.kimg >= 0, 'schedule.kimg', self.kimg, 'must be non-negative')
        require(self.lr is None or self.lr > 0, 'schedule.lr', self.lr, 'must be positive, or none')
        require(self.beta2 is None or 0 <= self.beta2 < 1, 'schedule.beta2', self.beta2, 'must lie in [0, 1), or none')
        for name in ('gamma', 'ema_kimg'):
            value = getattr(self, name)
            require(value is None or value >= 0, f'schedule.{name}', value, 'must be non-negative, or none')
        require(self.p is None or 0 <= self.p <= 1, 'schedule.p', self.p, 'must lie in [0, 1], or none')

    def check(self, cfg: RunConfig) -> None:
        """Raises ConfigError if a schedule begins at a value that the run does not have."""
        for name in ('g_opt', 'd_opt'):
            kind = getattr(cfg, name).kind
            way_out = f'{name}.kind={kind} has no second moment that follows a schedule; --set schedule.beta2=none'
            require(self.beta2 is None or kind == 'adam', 'schedule.beta2', self.beta2, way_out)
        way_out = f'aug.kind={cfg.aug.kind} has no strength that follows a schedule; --set schedule.p=none'
        require(self.p is None or cfg.aug.kind == 'fixed', 'schedule.p', self.p, way_out)

    def at(self, nimg: int, start: float, final: float | None) -> float:
        """Returns the value of a schedule.

        Args:
            nimg: Real images shown before this step.
            start: Value at the beginning.
            final: Value from `kimg` on; None keeps `start`.
        """
        return start if final is None else cosine(nimg, self.kimg * 1000, start, final)


def cosine(nimg: int, total_nimg: float, start: float, final: float) -> float:
    """Returns start + (1 - (1 + cos(pi n / T)) / 2) (final - start) for n = `nimg` up to T = `total_nimg`, then final.

    Args:
        nimg: Real images shown so far, n.
        total_nimg: Length of the schedule, T.
        start: Value at n = 0.
        final: Value from n = T on.
    """
    if nimg >= total_nimg:
        return final
    return start + (1 - (1 + math.cos(math.pi * nimg / total_nimg)) / 2) * (final - start)
