"""The option --sweep of gen_video.py, from its text to the setting that is swept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dnnlib.errors import ConfigError

NUMBER = r'[-+]?(?:\d{1,20}(?:\.\d*)?|\.\d+)'
FORMS = 'trunc:0..1.3, class, class:cat,dog, direction:0:-3..3, noise or noise:SEED'
DEFAULT_REACH = 3.0  # standard deviations to both sides in which --sweep=direction:0 walks


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Setting that a sweep changes, and its range.

    Attributes:
        kind: The setting.
        first: Its value in the first frame: psi, or standard deviations along a direction.
        last: Its value in the last frame.
        index: Number of the direction, or seed of the noise.
        classes: Texts of the classes; none for all of them.
    """

    kind: Literal['trunc', 'class', 'direction', 'noise']
    first: float = 0
    last: float = 0
    index: int = 0
    classes: tuple[str, ...] = ()


def parse_sweep(text: str) -> Sweep:
    """Returns the sweep of a text, such as 'trunc:0..1.3', 'class', 'direction:0:-3..3' or 'noise'.

    Raises:
        ConfigError: Shows the forms that there are.
    """
    kind, _, rest = text.partition(':')
    if kind == 'trunc' and (ends := _range(rest)):
        return Sweep(kind='trunc', first=ends[0], last=ends[1])
    if kind == 'direction' and (match := re.fullmatch(r'(\d{1,20})(?::(.+))?', rest)):
        ends = (-DEFAULT_REACH, DEFAULT_REACH) if match[2] is None else _range(match[2])
        if ends:
            return Sweep(kind='direction', index=int(match[1]), first=ends[0], last=ends[1])
    if text == 'class' or (kind == 'class' and rest):
        classes = tuple(part.strip() for part in rest.split(',')) if rest else ()
        if all(classes) and len(classes) != 1:
            return Sweep(kind='class', classes=classes)
        raise ConfigError(f'--sweep={text}: at least two classes are needed; --sweep=class shows all')
    if text == 'noise' or re.fullmatch(r'noise:\d{1,9}', text):
        return Sweep(kind='noise', index=int(rest or 0))
    raise ConfigError(f'--sweep={text}: expected one of {FORMS}')


def _range(text: str) -> tuple[float, float] | None:
    """Returns the two numbers of '0..1.3', None for other texts."""
    match = re.fullmatch(rf'({NUMBER})\.\.({NUMBER})', text)
    return (float(match[1]), float(match[2])) if match else None
