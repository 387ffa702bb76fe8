"""Summary of a conversion for users."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from training.data.convert.labels import describe_labels
from training.data.convert.picture import Outcome
from training.data.convert.source import PictureSource, SourceLabels
from training.data.stored_image import CHANNEL_KINDS

_MAX_LISTED = 10  # duplicates that are named


@dataclass(kw_only=True, slots=True)
class Summary:
    """The results of a conversion."""

    dest: str
    labels: SourceLabels | None = None
    kept: list[int] = field(default_factory=list)  # position in the source of every picture written
    names: list[str] = field(default_factory=list)  # names of the files written
    shape: tuple[int, ...] = ()  # height, width, channels of the first picture
    extension: str = ''
    bits: int = 8
    bad: list[str] = field(default_factory=list)  # one sentence per picture that was left out
    num_too_small: int = 0
    num_enlarged: int = 0
    num_profiles_broken: int = 0
    num_profiles_kept: int = 0
    num_transparent: int = 0
    num_deep: int = 0
    keeps_alpha: bool = False
    notes: list[str] = field(default_factory=list)  # lines about the source
    num_duplicates: int = 0
    duplicates: list[str] = field(default_factory=list)  # one sentence for each of the first
    _first: dict[bytes, int] = field(default_factory=dict)  # sha256 of each file written, and its position

    def repeats(self, source: PictureSource, index: int, outcome: Outcome) -> bool:
        """Whether a picture has the same pixels as one that was written before; if so, it is counted.

        Args:
            source: Pictures.
            index: Position of the picture in the source.
            outcome: Result of its conversion.
        """
        if not outcome.data:
            return False
        first = self._first.setdefault(hashlib.sha256(outcome.data).digest(), index)
        if first == index:
            return False
        self.num_duplicates += 1
        if self.num_duplicates <= _MAX_LISTED:
            sentence = f'{source.name(index)} has the pixels of {source.name(first)}'
            if self.labels is not None and self.labels.values[index] != self.labels.values[first]:
                sentence += f', with the label {self.labels.values[index]} instead of {self.labels.values[first]}'
            self.duplicates.append(sentence)
        return True

    def lines(self) -> Iterator[str]:
        """Yields the lines of the summary."""
        height, width, channels = self.shape
        is_planes = self.extension == '.npy' and channels not in (1, 3) and not self.keeps_alpha
        kind = f'{channels} planes' if is_planes or channels not in CHANNEL_KINDS else CHANNEL_KINDS[channels]
        depth = ', 16 bits' if self.bits == 16 else ''
        yield f'{self.dest}: pictures: {len(self.kept)}, {width}x{height} {kind}{depth}'
        yield from (f'  {line}' for line in self.notes)
        if self.labels is not None:
            yield from (f'  {line}' for line in describe_labels(self.labels, self.kept))
        if self.num_duplicates:
            yield f'  duplicates left out: {self.num_duplicates}'
            yield from (f'    {line}' for line in self.duplicates)
            if self.num_duplicates > len(self.duplicates):
                yield f'    and {self.num_duplicates - len(self.duplicates)} more'
        if self.keeps_alpha and channels in (2, 4) and not self.num_transparent:
            yield '  alpha was kept, but no picture has any transparency'
        if self.bits == 16 and not self.num_deep:
            yield '  16 bits were asked for, but every picture has 8'
        if self.num_enlarged:
            yield f'  smaller than that, and enlarged: {self.num_enlarged}; the network will learn their blur'
        if self.num_too_small:
            yield f'  too small, and left out: {self.num_too_small}'
        if self.num_profiles_broken:
            yield f'  color profiles that cannot be read, and were ignored: {self.num_profiles_broken}'
        if self.num_profiles_kept:
            yield f'  16-bit pictures whose color profile was not applied: {self.num_profiles_kept}'
        if self.bad:
            yield f'  bad pictures left out: {len(self.bad)}'
            yield from (f'    {line}' for line in self.bad)
