"""The options that choose latents, from their text to numbers and files: --seeds, --latents, and both in one list."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os.path import isfile  # False for a text that is too long for a name, where `Path.is_file` raises
from pathlib import Path
from typing import overload

from dnnlib.errors import ConfigError
from dnnlib.paths import user_path

MAX_SEED = 2**32 - 1  # the largest that NumPy's RandomState takes
NUMBERS = re.compile(r'\s*\d{1,20}(?:\s*-\s*\d{1,20})?\s*')  # int() refuses some thousands of digits


class Seeds(Sequence[int]):
    """Whole numbers in ranges: 0-400000 takes no memory for each number."""

    def __init__(self, ranges: Iterable[range]) -> None:
        self.ranges = tuple(numbers for numbers in ranges if len(numbers) > 0)
        self._ends = list(itertools.accumulate(len(numbers) for numbers in self.ranges))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(index)
        part = bisect.bisect_right(self._ends, position)
        return self.ranges[part][position - (self._ends[part - 1] if part else 0)]

    def __iter__(self) -> Iterator[int]:
        return itertools.chain.from_iterable(self.ranges)

    def __contains__(self, number: object) -> bool:
        return any(number in numbers for numbers in self.ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seeds) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __repr__(self) -> str:
        return f'Seeds({self})'

    def __str__(self) -> str:
        """The text that `parse_seeds` takes."""
        return ','.join(f'{r[0]}-{r[-1]}' if len(r) > 1 else str(r[0]) for r in self.ranges)

    def unique(self) -> Seeds:
        """Returns each number once, at its first place."""
        kept: list[range] = []
        for numbers in self.ranges:
            rest = [numbers]
            for other in kept:
                before = (range(part.start, min(part.stop, other.start)) for part in rest)
                after = (range(max(part.start, other.stop), part.stop) for part in rest)
                rest = [part for part in (*before, *after) if len(part) > 0]
            kept += rest
        return Seeds(kept)


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentsFile:
    """A latents file, and the points of it that are chosen; None for all."""

    path: Path
    indices: Seeds | None = None


def parse_seeds(text: str, option: str = '--seeds') -> Seeds:
    """Returns the numbers 0, 3, 8, 9, 10, 11 for '0,3,8-11'. option: its name in messages."""
    return Seeds(_parse_range(part, f'{option}={text}') for part in text.split(','))


def _parse_range(text: str, where: str) -> range:
    """Returns the numbers of '3' or '8-11'."""
    if NUMBERS.fullmatch(text) is None:
        raise ConfigError(f'{where}: expected numbers and ranges such as 0,3,8-15')
    first, _, last = text.replace(' ', '').partition('-')
    numbers = range(int(first), int(last or first) + 1)
    if len(numbers) == 0 or numbers.stop > MAX_SEED + 1:
        raise ConfigError(f'{where}: a range goes up, and a seed lies in 0 to {MAX_SEED}')
    return numbers


def parse_latents(texts: Iterable[str], option: str = '--latents') -> list[LatentsFile]:
    """Returns the files of texts such as 'me.npz', 'me.npz:0,2-5' and 'me.npz:0,you.npz'. option: for messages."""
    files: list[LatentsFile] = []
    for text in texts:
        for part in parse_points(text, option):
            if isinstance(part, Seeds):
                raise ConfigError(f'{option}={text}: expected FILE.npz or FILE.npz:0,2-5, not the seeds {part}')
            files.append(part)
    return files


def parse_points(text: str, option: str) -> list[Seeds | LatentsFile]:
    """Returns the seeds and the latents files of one list, such as '85,100-102,me.npz:0,2-5,you.npz'.

    Numbers after `FILE:` are indices of that file, so seeds come first.

    Args:
        text: The list.
        option: Name of the option in messages.
    """
    if not text.strip():
        raise ConfigError(f'{option} is empty; give seeds such as 0,3,8-15, or FILE.npz')
    if isfile(path := user_path(text)):  # its name may have commas
        return [LatentsFile(path=Path(path))]
    groups: list[list[str]] = []  # each: a file or '', then numbers
    for part in text.split(','):
        name, colon, numbers = part.rpartition(':')
        if name and colon and NUMBERS.fullmatch(numbers):
            groups.append([name, numbers])
        elif NUMBERS.fullmatch(part) and groups and len(groups[-1]) > 1:
            groups[-1].append(part)
        elif NUMBERS.fullmatch(part):
            groups.append(['', part])
        else:
            groups.append([part])
    return [_points_of(name, numbers, f'{option}={text}') for name, *numbers in groups]


def _points_of(name: str, numbers: Sequence[str], where: str) -> Seeds | LatentsFile:
    indices = Seeds(_parse_range(part, where) for part in numbers) if numbers else None
    if name:
        if not name.endswith('.npz') and not isfile(user_path(name)):
            raise ConfigError(f"{where}: '{name}' is neither a seed, a range of seeds, nor FILE.npz[:0,2-5]")
        return LatentsFile(path=Path(user_path(name)), indices=indices)
    if indices is None:
        raise ConfigError(f'{where}: expected numbers, ranges or FILE.npz, and nothing empty between two commas')
    return indices
