"""Settings of a projection, and their checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

from dnnlib.errors import ConfigError
from ganfoundry.projection.spaces import Coordinates
from training.run.latents import space_of

METHODS = ('direct', 'stylegan2')
MSE_WEIGHT = 5.0  # pixels lie in [-1, 1]; with 1, w+ ends 1 dB lower at the same LPIPS after 300 steps
NAMED_STARTS = ('nearest', 'mean')  # values of --init that are not files


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of a projection; `ganfoundry/commands/projector.py` describes each.

    space: one of `SPACES`. init, mse: None for those of the method.
    """

    space: str
    method: str = 'direct'
    num_steps: int = 300
    init: str | None = None
    mse: float | None = None
    seed: int = 0
    tune_steps: int = 100
    max_drift: float = 0.05

    @property
    def start(self) -> str:
        """The starting point: 'nearest', 'mean' or the path of a latents file."""
        return self.init or ('mean' if self.method == 'stylegan2' else 'nearest')

    @property
    def mse_weight(self) -> float:
        """Weight of the mean squared error; Appendix D has none."""
        if self.mse is not None:
            return self.mse
        return 0.0 if self.method == 'stylegan2' else MSE_WEIGHT

    @property
    def coordinates(self) -> Coordinates:
        """The space of the points that are optimized."""
        return 'w' if self.space == 'pti' else cast('Coordinates', self.space)


def check_settings(settings: Settings, G: Any) -> None:
    """Raises ConfigError for settings that do not fit each other or the generator."""
    if settings.method not in METHODS:
        raise ConfigError(f'--method={settings.method}: choose one of {", ".join(METHODS)}')
    if settings.method == 'stylegan2' and settings.space not in ('w', 'w+'):
        others = '' if space_of(G) == 'w' else f', and {type(G).__name__} has no W space; drop the option'
        raise ConfigError(f'--method=stylegan2: works in w and w+, not in {settings.space}{others}')
    if settings.start == 'mean' and settings.space == 'z' and space_of(G) == 'w':
        raise ConfigError('--init=mean: the mean of z is 0, which has no direction; use --init=nearest')
    for name, value, least in (
        ('num-steps', settings.num_steps, 1),
        ('tune-steps', settings.tune_steps, 1),
        ('seed', settings.seed, 0),
        ('mse', settings.mse_weight, 0),
        ('max-drift', settings.max_drift, 0),
    ):
        if not least <= value < math.inf:
            raise ConfigError(f'--{name}={value}: must be a number of at least {least}')
