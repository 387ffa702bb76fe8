"""Guardian: detects the symptoms of a failing run and suggests a remedy.

There are four symptoms: D recognizes the real images, the augmentation strength stays at its cap, the samples lack
diversity, the metric gets worse. Each warning is issued once per episode. The guardian's memory is part of the run's
state, so that a resumed run issues the same warnings as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dnnlib.config import require
from training.optimize.diversity import Diversity

SNAPSHOTS = 2  # consecutive snapshots whose samples lack diversity before a warning
GROWTH = 1.1  # a diversity above this multiple of the highest so far is that of a run that still learns


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardianConfig:
    """Thresholds of the guardian. They are this project's own: no paper gives any.

    Attributes:
        mode: 'off', 'warn', or 'rollback'. 'rollback' also returns to the best state, once per best state, when the
            samples have lost their diversity or the metric has become worse.
        ticks: number of consecutive ticks after which a high sign, or a strength at its cap, causes a warning.
        sign: limit of D's mean sign on real images, in [0, 1]. ADA aims at 0.6; a D that guesses has 0.
        diversity: limit of the samples' diversity within a class, relative to real images, in [0, 1]: of the mean over
            the classes; that of the worst class is half as large.
        rises: number of consecutive results of the first metric that are each worse than the one before.
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
    """Memory of the symptoms of a run. The methods return warnings, which the caller prints.

    Args:
        cfg: the thresholds.
        adapts: whether the augmentation strength follows D.
        boundary: logit at which D is undecided under the run's loss. D's signs are watched only if it is 0.
    """

    def __init__(self, cfg: GuardianConfig, adapts: bool, boundary: float | None) -> None:
        self.cfg = cfg
        self._adapts = adapts
        self._has_signs = boundary == 0
        self._in_a_row = {'signs': 0, 'cap': 0, 'alike': 0}
        self._highest = 0.0  # diversity, mean over the classes
        self._varied: int | None = None  # nimg of the newest snapshot whose samples did not lack diversity
        self.returned_to: int | None = None  # nimg of the best state to which a rollback has returned

    def tick(self, sign: float, at_cap: bool) -> list[str]:
        """Returns the warnings due at the end of a tick.

        Args:
            sign: mean sign of D on real images, in [-1, 1].
            at_cap: whether the augmentation strength p is limited by its cap.
        """
        cfg, warnings = self.cfg, []
        if self._begins('signs', self._has_signs and sign > cfg.sign, cfg.ticks):
            remedy = 'use more images, or a stronger augmentation (--augpipe=bgcfnc), or a larger --gamma'
            if not self._adapts:
                remedy = '--aug=ada, or use more images (--mirror=1 doubles them)'
            warnings.append(
                f'D recognizes nearly every real image (its mean sign on them is {sign:.2f}, above {cfg.sign:g} for '
                f'{cfg.ticks} ticks): it overfits; {remedy}'
            )
        if self._begins('cap', at_cap, cfg.ticks):
            warnings.append(
                f'the augmentation strength has been at its cap for {cfg.ticks} ticks, and D still overfits; use more '
                'images or a larger --gamma; a higher cap (--set aug.p_max) would make augmentations leak into the '
                'samples'
            )
        return warnings

    def samples(self, diversity: Diversity, nimg: int) -> list[str]:
        """Returns the warnings due at a snapshot.

        Samples lack diversity if it is below the limit and no longer grows: an untrained generator, and the average of
        the weights of a young run, draw nearly equal images.

        Args:
            diversity: diversity of the samples, always of the same latents, within classes and relative to real images.
            nimg: number of images at the snapshot.
        """
        limit = self.cfg.diversity
        low = diversity.mean < limit or diversity.least < limit / 2
        grows = diversity.mean > GROWTH * self._highest
        self._highest = max(self._highest, diversity.mean)
        if not low:
            self._varied = nimg
        if not self._begins('alike', low and not grows, SNAPSHOTS):
            return []
        return [
            f'samples of a class differ only {diversity.mean:.2f} times as much as real images of a class (the least '
            f'varied class: {diversity.least:.2f}), and no longer more from snapshot to snapshot; look at the sheets'
        ]

    @property
    def varied_nimg(self) -> int | None:
        """Number of images at the newest snapshot whose samples did not lack diversity; None if there was none."""
        return self._varied

    @property
    def alike(self) -> bool:
        """Whether the newest samples lacked diversity for long enough to cause a warning."""
        return self._in_a_row['alike'] >= SNAPSHOTS

    def metric(self, values: Sequence[float], lower_is_better: bool) -> list[str]:
        """Returns the warnings due after a measurement. values: all results of the first metric, oldest first."""
        if rises_in_a_row(values, lower_is_better) != self.cfg.rises:
            return []  # fewer, or the warning has been issued
        best = min(values) if lower_is_better else max(values)
        return [
            f'the metric has become worse {self.cfg.rises} times in a row, from {values[-self.cfg.rises - 1]:.4g} to '
            f'{values[-1]:.4g}: the best was {best:.4g}, and its snapshot and state are kept; stop here, or continue '
            'with --aug=ada, more images or a larger --gamma'
        ]

    def has_risen(self, values: Sequence[float], lower_is_better: bool) -> bool:
        """Whether the metric has become worse `cfg.rises` times in a row. The arguments are those of `metric`."""
        return rises_in_a_row(values, lower_is_better) >= self.cfg.rises

    def state_dict(self) -> dict[str, Any]:
        """Returns the memory as JSON values."""
        memory = {'in_a_row': dict(self._in_a_row), 'highest': self._highest, 'varied': self._varied}
        return {**memory, 'returned_to': self.returned_to}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the memory from `state_dict`."""
        self._in_a_row = dict(state['in_a_row'])
        self._highest, self._varied = state.get('highest', 0.0), state.get('varied')  # absent from version 1
        self.returned_to = state['returned_to']

    def _begins(self, name: str, wrong: bool, patience: int) -> bool:
        """Counts consecutive symptoms. Returns whether the count has just reached `patience`."""
        self._in_a_row[name] = self._in_a_row[name] + 1 if wrong else 0
        return self._in_a_row[name] == patience


def rises_in_a_row(values: Sequence[float], lower_is_better: bool) -> int:
    """Returns the number of latest results that were each worse than the one before."""
    sign, count = (1 if lower_is_better else -1), 0
    for before, after in zip(values[-2::-1], values[:0:-1], strict=True):
        if sign * (after - before) <= 0:
            break
        count += 1
    return count
