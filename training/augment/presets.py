"""Transforms of ADA's pipe, their ranges, and the presets of `--augpipe`.

This module does not import torch, so that reading a config needs none.

Source: Karras et al., "Training generative adversarial networks with limited data", NeurIPS 2020, appendix B.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from dnnlib.errors import ConfigError

_BLIT = ('xflip', 'rotate90', 'xint')
_GEOM = ('scale', 'rotate', 'aniso', 'xfrac')
_COLOR = ('brightness', 'contrast', 'lumaflip', 'hue', 'saturation')
_FILTER, _NOISE, _CUTOUT = ('imgfilter',), ('noise',), ('cutout',)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transforms:
    """Multiplier of p for each transform, at least 0; 0 removes the transform.

    A transform applies to an image with probability min(multiplier * p, 1).
    """

    xflip: float = 0
    rotate90: float = 0
    xint: float = 0  # whole pixels
    scale: float = 0
    rotate: float = 0  # two rotations, before and after `aniso`; the probability of at least one
    aniso: float = 0
    xfrac: float = 0  # fractions of pixels
    brightness: float = 0
    contrast: float = 0
    lumaflip: float = 0
    hue: float = 0
    saturation: float = 0
    imgfilter: float = 0
    noise: float = 0
    cutout: float = 0

    def __post_init__(self) -> None:
        _require_numbers(self)

    @property
    def geometric(self) -> bool:
        """Whether any transform moves pixels."""
        return any(getattr(self, name) > 0 for name in _BLIT + _GEOM)

    @property
    def color(self) -> bool:
        """Whether any transform maps colors."""
        return any(getattr(self, name) > 0 for name in _COLOR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranges:
    """Range of each transform. `std` is a standard deviation, for factors that of the log2."""

    xint_max: float = 0.125  # fraction of width and height
    scale_std: float = 0.2  # log2
    rotate_max: float = 1  # fraction of half a turn
    aniso_std: float = 0.2  # log2
    xfrac_std: float = 0.125  # fraction of width and height
    brightness_std: float = 0.2
    contrast_std: float = 0.5  # log2
    hue_max: float = 1  # fraction of half a turn
    saturation_std: float = 1  # log2
    imgfilter_bands: tuple[float, float, float, float] = (1, 1, 1, 1)  # multipliers of p, low frequencies first
    imgfilter_std: float = 1  # log2
    noise_std: float = 0.1
    cutout_size: float = 0.5  # fraction of width and height

    def __post_init__(self) -> None:
        _require_numbers(self)


def _require_numbers(values: Transforms | Ranges) -> None:
    """Raises ConfigError if a field is not a finite number of at least 0."""
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ConfigError(f'{field.name}={value}: must be finite and at least 0')


def _all_of(*groups: tuple[str, ...]) -> Transforms:
    return Transforms(**{name: 1.0 for group in groups for name in group})


# The values of --augpipe.
PRESETS: dict[str, Transforms] = {
    'blit': _all_of(_BLIT),
    'geom': _all_of(_GEOM),
    'color': _all_of(_COLOR),
    'filter': _all_of(_FILTER),
    'noise': _all_of(_NOISE),
    'cutout': _all_of(_CUTOUT),
    'bg': _all_of(_BLIT, _GEOM),
    'bgc': _all_of(_BLIT, _GEOM, _COLOR),
    'bgcf': _all_of(_BLIT, _GEOM, _COLOR, _FILTER),
    'bgcfn': _all_of(_BLIT, _GEOM, _COLOR, _FILTER, _NOISE),
    'bgcfnc': _all_of(_BLIT, _GEOM, _COLOR, _FILTER, _NOISE, _CUTOUT),
    # Huang et al. 2024: colors half as often, cutout, neither filter nor noise
    'r3gan': dataclasses.replace(_all_of(_BLIT, _GEOM, _CUTOUT), **dict.fromkeys(_COLOR, 0.5)),
}
