"""A view: everything that decides a picture of the explorer, as the page writes it into its address."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlencode

from dnnlib.errors import ConfigError
from ganfoundry.latent_options import MAX_SEED
from ganfoundry.transform_option import Transform

NOISE_MODES = ('const', 'random', 'none')
MAX_INDEX = 4096  # limit of indices of styles and directions
MAX_TEXT = 4096  # limit of the characters of a class
WHOLE = re.compile(r'\d{1,10}')


@dataclass(frozen=True, slots=True)
class Step:
    """A step along a direction. index: the direction, from 0. deviations: standard deviations of the latents."""

    index: int
    deviations: float


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """The settings of the page. The picture shows the latent A + distance (x (B - A) + y (C - A)) of three seeds.

    Attributes:
        seed: Seed of A.
        seed2: Seed of B.
        seed3: Seed of C.
        start: Name of a stored point that is A in place of the seed; empty for none.
        x: Position along B - A.
        y: Position along C - A.
        distance: Factor of both.
        psi: Truncation of seeds and stored z.
        class_text: The class as --class takes it; empty for the first class, and for an unconditional network.
        noise: 'const', 'random' or 'none'.
        noise_seed: Seed of random noise; None for that of A.
        mix: Seed of the latent that gives some styles.
        styles: Indices of these styles.
        sefa: Steps along directions in closed form, after truncation.
        pca: Steps along principal components, after truncation.
        snapshot: Name of the snapshot of a run; empty for the one that --network names.
        recalibrate: Whether batch-norm statistics are measured at this truncation and class.
        translate_x: Share of the width by which the picture moves to the right.
        translate_y: Share of the height by which it moves down.
        rotate: Degrees by which it turns counter-clockwise.
    """

    seed: int = 0
    seed2: int = 1
    seed3: int = 2
    start: str = ''
    x: float = 0.0
    y: float = 0.0
    distance: float = 1.0
    psi: float = 1.0
    class_text: str = ''
    noise: str = 'const'
    noise_seed: int | None = None
    mix: int = 3
    styles: tuple[int, ...] = ()
    sefa: tuple[Step, ...] = ()
    pca: tuple[Step, ...] = ()
    snapshot: str = ''
    recalibrate: bool = False
    translate_x: float = 0.0
    translate_y: float = 0.0
    rotate: float = 0.0

    @property
    def offset(self) -> tuple[float, float]:
        """Shares of B - A and C - A."""
        return self.distance * self.x, self.distance * self.y

    @property
    def moved(self) -> bool:
        """Whether the latent differs from A."""
        return self.offset != (0, 0) or bool(self.styles or self.sefa or self.pca)

    @property
    def transform(self) -> Transform:
        """Transform of the picture."""
        return Transform(translate=(self.translate_x, self.translate_y), rotate=self.rotate)

    def query(self) -> str:
        """Returns the text that `parse_view` reads, without the settings that have their default."""
        found = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                found.append((KEYS.get(field.name, field.name), text_of(value)))
        return urlencode(found)


KEYS = {'class_text': 'class'}  # names in the address that are keywords in Python
FIELDS = {KEYS.get(field.name, field.name): field for field in fields(View)}


def text_of(value: Any) -> str:
    """Returns the text of a setting."""
    if isinstance(value, tuple):
        return ','.join(f'{part.index}:{part.deviations!r}' if isinstance(part, Step) else str(part) for part in value)
    return '1' if value is True else '0' if value is False else str(value)


def parse_view(settings: Iterable[tuple[str, str]]) -> View:
    """Returns the view of pairs from an address.

    Raises:
        ConfigError: Names a setting that is unknown, given twice or out of range.
    """
    values: dict[str, Any] = {}
    for key, text in settings:
        if key not in FIELDS or (name := FIELDS[key].name) in values:
            raise ConfigError(f'{key[:60]}: {"given twice" if key in FIELDS else "no setting of the explorer"}')
        values[name] = PARSERS[name](text, key)
    return View(**values)


def parse_seed(text: str, key: str) -> int:
    """Returns a seed. key: name of the setting, for messages."""
    if not WHOLE.fullmatch(text) or int(text) > MAX_SEED:
        raise ConfigError(f'{key}={text[:60]}: expected a whole number from 0 to {MAX_SEED}')
    return int(text)


def parse_number(text: str, key: str) -> float:
    """Returns a finite number. key: name of the setting, for messages."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f'{key}={text[:60]}: expected a finite number, such as 0.7')
    return value


def parse_index(text: str, key: str) -> int:
    """Returns an index of a style or direction. key: name of the setting, for messages."""
    if not WHOLE.fullmatch(text) or int(text) > MAX_INDEX:
        raise ConfigError(f'{key}={text[:60]}: expected indices from 0')
    return int(text)


def parse_indices(text: str, key: str) -> tuple[int, ...]:
    """Returns the indices of '0,2,5', ascending. key: name of the setting, for messages."""
    return tuple(sorted({parse_index(part, key) for part in text.split(',')})) if text else ()


def parse_steps(text: str, key: str) -> tuple[Step, ...]:
    """Returns the steps of '0:1.5,3:-2', those of no length left out. key: name of the setting, for messages."""
    steps: dict[int, float] = {}
    for part in text.split(',') if text else ():
        index, _, number = part.partition(':')
        steps[parse_index(index, key)] = parse_number(number, key)
    return tuple(Step(index, steps[index]) for index in sorted(steps) if steps[index] != 0)


def parse_noise(text: str, key: str) -> str:
    """Returns a noise mode. key: name of the setting, for messages."""
    if text not in NOISE_MODES:
        raise ConfigError(f'{key}={text[:60]}: choose one of {", ".join(NOISE_MODES)}')
    return text


def parse_switch(text: str, key: str) -> bool:
    """Returns a truth value. key: name of the setting, for messages."""
    if text not in ('0', '1'):
        raise ConfigError(f'{key}={text[:60]}: expected 0 or 1')
    return text == '1'


def parse_text(text: str, key: str) -> str:
    """Returns a text of limited length. key: name of the setting, for messages."""
    if len(text) > MAX_TEXT:
        raise ConfigError(f'{key}: longer than {MAX_TEXT} characters')
    return text


PARSERS: dict[str, Callable[[str, str], Any]] = {
    **dict.fromkeys(('seed', 'seed2', 'seed3', 'noise_seed', 'mix'), parse_seed),
    **dict.fromkeys(('x', 'y', 'distance', 'psi', 'translate_x', 'translate_y', 'rotate'), parse_number),
    **dict.fromkeys(('start', 'class_text', 'snapshot'), parse_text),
    **dict.fromkeys(('sefa', 'pca'), parse_steps),
    'styles': parse_indices,
    'noise': parse_noise,
    'recalibrate': parse_switch,
}
