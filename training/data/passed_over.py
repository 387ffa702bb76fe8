"""Files of a source that are not used, counted by kind where they are listed."""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass, field

_MAX_ENDINGS = 6  # endings that are shown
_MAX_ENDING_CHARS = 12
_SHOWN = 3  # names that are shown per kind

# Kinds that are shown with names: singular and plural.
_NAMED = {
    'linked folder': ('a link to a folder', 'links to folders'),
    'special': ('a link, pipe, socket or device', 'links, pipes, sockets or devices'),
    'labels': ('a dataset.json that is not at the root', 'dataset.json that are not at the root'),
}


@dataclass(kw_only=True, slots=True)
class PassedOver:
    """The counts. Hidden files are not counted."""

    endings: Counter[str] = field(default_factory=Counter)  # '.heic' to number of files
    named: dict[str, list[str]] = field(default_factory=dict)  # kind to the first names
    counts: Counter[str] = field(default_factory=Counter)  # kind of `named` to number

    def add_file(self, name: str) -> None:
        """Counts a file by its ending."""
        ending = posixpath.splitext(name)[1].lower()
        self.endings[ending if 1 < len(ending) <= _MAX_ENDING_CHARS else ''] += 1

    def add(self, kind: str, name: str) -> None:
        """Counts something else, by a kind of `_NAMED`."""
        assert kind in _NAMED
        self.counts[kind] += 1
        names = self.named.setdefault(kind, [])
        if len(names) < _SHOWN:
            names.append(name)

    def __bool__(self) -> bool:
        """Returns whether anything was passed over."""
        return bool(self.endings or self.counts)

    def words(self) -> str:
        """Returns the counts in words, '' without any: `18 .heic, 2 without an ending, a link to a folder (more)`."""
        known = [(ending, count) for ending, count in self.endings.most_common() if ending]
        parts = [f'{count:,} {ending}' for ending, count in known[:_MAX_ENDINGS]]
        rest = sum(count for _, count in known[_MAX_ENDINGS:])
        if rest:
            parts.append(f'{rest:,} with other endings')
        if self.endings['']:
            parts.append(f'{self.endings[""]:,} without a known ending')
        for kind, (one, many) in _NAMED.items():
            count = self.counts[kind]
            if count:
                others = f' and {count - _SHOWN:,} more' if count > _SHOWN else ''
                parts.append(f'{one if count == 1 else f"{count:,} {many}"} ({", ".join(self.named[kind])}{others})')
        return ', '.join(parts)

    def line(self) -> str:
        """Returns the line for users, '' if nothing was passed over."""
        return f'passed over: {self.words()}' if self else ''
