"""Summary of a conversion for users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from training.data.convert.labels import describe_labels
from training.data.convert.source import SourceLabels
from training.data.stored_image import CHANNEL_KINDS


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
    keeps_alpha: bool = False

    def lines(self) -> Iterator[str]:
        """Yields the lines of the summary."""
        height, width, channels = self.shape
        is_planes = self.extension == '.npy' and channels not in (1, 3) and not self.keeps_alpha
        kind = f'{channels} planes' if is_planes or channels not in CHANNEL_KINDS else CHANNEL_KINDS[channels]
        depth = ', 16 bits' if self.bits == 16 else ''
        yield f'{self.dest}: pictures: {len(self.kept)}, {width}x{height} {kind}{depth}'
        if self.labels is not None:
            yield from (f'  {line}' for line in describe_labels(self.labels, self.kept))
        if self.keeps_alpha and channels in (2, 4) and not self.num_transparent:
            yield '  alpha was kept, but no picture has any transparency'
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
