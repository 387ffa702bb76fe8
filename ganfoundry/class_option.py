"""The option --class, from its text to labels: a number, a name, a blend of both, a vector, or all classes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch

from dnnlib.errors import ConfigError
from dnnlib.registry import suggest

ALL = 'all'  # the text that means every class
MAX_NAMES = 20  # names of classes in a message
SUM_TOLERANCE = 1e-4  # distance from 1 of the sum of a blend's weights


class Label(NamedTuple):
    """A label. c: float32 [label_dim]. text: the text of --class, in numbers. title: for captions, in names."""

    c: torch.Tensor
    text: str
    title: str

    @property
    def class_idx(self) -> int | None:
        """The number of the class; None for blends, vectors, and networks without labels."""
        return int(self.text) if self.text.isdecimal() else None


NO_LABEL = Label(torch.zeros(0), '', '')


def parse_class(text: str | int | None, c_dim: int, names: Sequence[str] = (), option: str = '--class') -> Label:
    """Returns the label of a text: '3', 'cat', 'cat:0.3+dog:0.7', '3:0.3+7:0.7' or a vector '0.1,0,0.9'.

    Args:
        text: The text; None if the option is not given.
        c_dim: Width of a label; 0 for an unconditional network, which takes no class.
        names: Names of the classes; none if they are not known.
        option: The option or argument that gives the class, for messages.

    Raises:
        ConfigError: If a class is missing, or if the network does not have it.
    """
    if c_dim == 0:
        if text is not None:
            raise ConfigError(f'{option}={text}: this network is unconditional; drop {option}')
        return NO_LABEL
    if text is None:
        raise ConfigError(f'{option} is needed: this network is conditional, on {_classes(c_dim, names)}')
    text, where = str(text).strip(), f'{option}={text}'
    if (index := _index_of(text, c_dim, names, where)) is not None:
        return _one_hot(index, c_dim, names)
    if ',' in text or text.startswith('[') or (c_dim == 1 and _number(text) is not None):
        return _vector(text, c_dim, where)
    if text == ALL:
        raise ConfigError(f'{where}: one label is needed here; generate.py --class=all draws every class')
    if ':' in text:
        return _blend(text, c_dim, names, where)
    raise ConfigError(f'{where}: {_unknown(text, c_dim, names)}')


def parse_classes(text: str | int | None, c_dim: int, names: Sequence[str] = ()) -> list[Label]:
    """Returns one label, or those of all classes for 'all'. Arguments and errors are those of `parse_class`."""
    if text == ALL and c_dim > 0 and ALL not in names:
        return [_one_hot(index, c_dim, names) for index in range(c_dim)]
    return [parse_class(text, c_dim, names)]


def _index_of(text: str, c_dim: int, names: Sequence[str], where: str) -> int | None:
    """Returns the class that a number or a name means, None for other texts."""
    if re.fullmatch(r'[+-]?\d{1,20}', text):
        if not 0 <= (index := int(text)) < c_dim:
            raise ConfigError(f'{where}: this network knows {_classes(c_dim, names)}')
        return index
    found = [index for index, name in enumerate(names) if name == text]
    if len(found) > 1:
        numbers = ', '.join(map(str, found))
        raise ConfigError(f"{where}: '{text}' is the name of the classes {numbers}; give a number")
    return found[0] if found else None


def _one_hot(index: int, c_dim: int, names: Sequence[str]) -> Label:
    c = torch.zeros(c_dim)
    c[index] = 1
    return Label(c, str(index), names[index] if names else f'class {index}')


def _vector(text: str, c_dim: int, where: str) -> Label:
    numbers = [_number(part) for part in text.removeprefix('[').removesuffix(']').split(',')]
    values = [number for number in numbers if number is not None]
    if len(values) < len(numbers):
        raise ConfigError(f'{where}: a label vector has finite numbers, separated by commas')
    if len(values) != c_dim:
        raise ConfigError(f'{where}: a label of this network has {c_dim} numbers, these are {len(values)}')
    c = torch.tensor(values)
    if not c.isfinite().all():
        raise ConfigError(f'{where}: a number is too large for float32')
    text = f'[{",".join(map(repr, values))}]'
    return Label(c, text, text)


def _blend(text: str, c_dim: int, names: Sequence[str], where: str) -> Label:
    weights: dict[int, float] = {}
    for part in text.split('+'):
        name, _, number = part.rpartition(':')
        weight = _number(number)
        if not name or weight is None or weight < 0:
            raise ConfigError(f'{where}: expected classes with weights, such as cat:0.3+dog:0.7 or 3:0.3+7:0.7')
        if (index := _index_of(name.strip(), c_dim, names, where)) is None:
            raise ConfigError(f'{where}: {_unknown(name.strip(), c_dim, names)}')
        weights[index] = weights.get(index, 0) + weight
    if abs((total := sum(weights.values())) - 1) > SUM_TOLERANCE:
        raise ConfigError(f'{where}: the weights sum to {total:g}; they must sum to 1')
    c = torch.zeros(c_dim)
    for index, weight in weights.items():
        c[index] = weight
    titles = (f'{weight:g} {names[index] if names else index}' for index, weight in weights.items())
    return Label(c, '+'.join(f'{index}:{weight!r}' for index, weight in weights.items()), ' + '.join(titles))


def _number(text: str) -> float | None:
    """Returns a finite number, None for other texts."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _classes(c_dim: int, names: Sequence[str]) -> str:
    """Returns 'classes 0 to 2 (cat, dog, fox)'."""
    if not names:
        return f'classes 0 to {c_dim - 1}'
    more = f', and {len(names) - MAX_NAMES} more' if len(names) > MAX_NAMES else ''
    return f'classes 0 to {c_dim - 1} ({", ".join(names[:MAX_NAMES])}{more})'


def _unknown(text: str, c_dim: int, names: Sequence[str]) -> str:
    """Returns the end of an error about a name that no class has."""
    if not names:
        return f'the names of the classes are not known to this network; give a number from 0 to {c_dim - 1}'
    if len(names) > MAX_NAMES:
        near = suggest(text, names).partition('known: ')[0]
        return f"no class is called '{text}'; {near}this network knows {_classes(c_dim, names)}"
    return f"no class is called '{text}'; {suggest(text, names)}"
