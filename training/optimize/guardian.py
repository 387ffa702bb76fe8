"""Watches a run for what ends most failed ones, and says what to do about it.

Four signs: D tells the real images from all others, the augmentation's strength sits at its cap, samples grow alike,
the metric rises. Each is told once when it begins, and again only after it has ended. What is remembered is part of the
run's state, so a resumed run says what an undisturbed one says.

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F

from training.checks import require
from training.objective.losses import BOUNDARIES

SIDE = 8  # pixels that samples are averaged down to before they are compared


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardianConfig:
    """When the guardian speaks.

    mode: 'off'; 'warn'; 'rollback', which also goes back to the best state, once for each best, when samples have
    grown alike or the metric has risen.
    ticks: how many in a row D's signs, or p, must stand wrong. sign: mean sign of D on real images beyond which it has
    them by heart; ADA aims at 0.6, a D that guesses has 0. diversity: share of the largest diversity so far below which
    samples have grown alike. rises: how many in a row of the first metric.
    The thresholds are this project's own: no paper gives any.
    """

    mode: Literal['off', 'warn', 'rollback'] = 'warn'
    ticks: int = 10
    sign: float = 0.95
    diversity: float = 0.5
    rises: int = 3

    def __post_init__(self) -> None:
        require(self.mode in ('off', 'warn', 'rollback'), 'guardian.mode', self.mode, 'one of off, warn, rollback')
        require(self.ticks >= 1, 'guardian.ticks', self.ticks, 'must be at least 1')
        require(0 <= self.sign <= 1, 'guardian.sign', self.sign, 'must lie in [0, 1]')
        require(0 <= self.diversity <= 1, 'guardian.diversity', self.diversity, 'must lie in [0, 1]')
        require(self.rises >= 1, 'guardian.rises', self.rises, 'must be at least 1')


class Guardian:
    """What has been seen of a run. Its methods return warnings; whoever calls them says them.

    adapts: whether the augmentation's strength follows D. loss: kind of the adversarial loss; only where "real" begins
    at a logit of 0 are the recorded signs D's verdicts, and under the others they are not watched.
    """

    def __init__(self, cfg: GuardianConfig, adapts: bool, loss: str) -> None:
        self.cfg = cfg
        self._adapts = adapts
        self._has_signs = BOUNDARIES.get(loss) == 0
        self._in_a_row = {'signs': 0, 'cap': 0, 'alike': 0}
        self._most_diverse = 0.0
        self.returned_to: int | None = None  # nimg of the best state that a rollback has gone back to

    def tick(self, sign: float, at_cap: bool) -> list[str]:
        """At a tick's end. sign: mean of D's on real images. at_cap: whether the strength p is held by its cap."""
        cfg, warnings = self.cfg, []
        if self._begins('signs', self._has_signs and sign > cfg.sign, cfg.ticks):
            remedy = 'use more images, or a stronger augmentation (--augpipe=bgcfnc), or a larger --gamma'
            if not self._adapts:
                remedy = '--aug=ada, or use more images (--mirror=1 doubles them)'
            warnings.append(
                f'D knows nearly every real image (its mean sign on them is {sign:.2f}, above {cfg.sign:g} for '
                f'{cfg.ticks} ticks): it overfits; {remedy}'
            )
        if self._begins('cap', at_cap, cfg.ticks):
            warnings.append(
                f'the strength of the augmentation has stood at its cap for {cfg.ticks} ticks: D overfits all the '
                'same; use more images or a larger --gamma; more of it (--set aug.p_max) would show in the samples'
            )
        return warnings

    def samples(self, images: torch.Tensor) -> list[str]:
        """At a snapshot. images: uint8 [N, C, H, W] of latents that are always the same."""
        now = diversity(images)
        self._most_diverse = max(self._most_diverse, now)
        if not self._begins('alike', now < self.cfg.diversity * self._most_diverse, 1):
            return []
        return [
            f'samples have grown alike: they differ by {now:.1f} grey levels, and did by {self._most_diverse:.1f}; '
            'look at the sheets; to go back, delete the states since and --resume the run, with a larger --gamma or '
            'smaller --glr and --dlr'
        ]

    @property
    def alike(self) -> bool:
        """Whether the newest samples were alike."""
        return self._in_a_row['alike'] > 0

    def metric(self, values: Sequence[float], lower_is_better: bool) -> list[str]:
        """After a measurement. values: all results of the first metric so far, oldest first."""
        if rises_in_a_row(values, lower_is_better) != self.cfg.rises:
            return []  # fewer, or told already
        best = min(values) if lower_is_better else max(values)
        return [
            f'the metric has become worse {self.cfg.rises} times in a row, from {values[-self.cfg.rises - 1]:.4g} to '
            f'{values[-1]:.4g}: the best was {best:.4g}, and its snapshot and state are kept; stop here, or go on with '
            '--aug=ada, more images or a larger --gamma'
        ]

    def has_risen(self, values: Sequence[float], lower_is_better: bool) -> bool:
        """Whether the metric, arguments as in `metric`, is worse than so many times before."""
        return rises_in_a_row(values, lower_is_better) >= self.cfg.rises

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, as JSON holds it exactly."""
        counts = dict(self._in_a_row)
        return {'in_a_row': counts, 'most_diverse': self._most_diverse, 'returned_to': self.returned_to}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._in_a_row = dict(state['in_a_row'])
        self._most_diverse, self.returned_to = state['most_diverse'], state['returned_to']

    def _begins(self, name: str, wrong: bool, patience: int) -> bool:
        """Counts how often in a row something was wrong; whether that is now long enough, and was not before."""
        self._in_a_row[name] = self._in_a_row[name] + 1 if wrong else 0
        return self._in_a_row[name] == patience


def diversity(images: torch.Tensor) -> float:
    """How much images uint8 [N, C, H, W] differ at 8x8 pixels: the root mean square deviation of a value from its mean
    over N, in grey levels. Root two times it is the root mean square distance of two of them.
    """
    small = F.adaptive_avg_pool2d(images.double(), SIDE)  # [N, C, 8, 8]
    return float(small.var(dim=0, correction=0).mean().sqrt())


def rises_in_a_row(values: Sequence[float], lower_is_better: bool) -> int:
    """How many of the last results were each worse than the one before."""
    sign, count = (1 if lower_is_better else -1), 0
    for before, after in zip(values[-2::-1], values[:0:-1], strict=True):
        if sign * (after - before) <= 0:
            break
        count += 1
    return count
