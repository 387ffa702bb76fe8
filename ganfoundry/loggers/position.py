"""Position of a logger in the records of a run: RUN/log-NAME.json, replaced as a whole by every record that is sent."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from dnnlib.errors import ConfigError, RecordError
from dnnlib.records import Record, read_record


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two lines of a file.

    Attributes:
        offset: Bytes before it.
        mark: Digest of up to 4 kB before it, by which a file that was rewritten is found out.
        nimg: Largest number of images of the lines before it; -1 if there is none.
        before: Number of files NAME.before-N that had been seen.
    """

    offset: int = 0
    mark: str = ''
    nimg: int = -1
    before: int = 0


@dataclass(frozen=True, slots=True)
class SheetMark:
    """A version of a sheet: its time of modification in ns, and the digest of its bytes; '' if it is to be ignored."""

    mtime_ns: int
    digest: str


@dataclass(frozen=True, slots=True)
class Position:
    """Everything that was sent.

    Attributes:
        segment: Number of rewinds so far, plus 1.
        state: State with which the logger finished; '' while it sends.
        lines: Places in the files of lines by name.
        sheets: Versions of the sheets by name.
    """

    segment: int = 1
    state: str = ''
    lines: dict[str, Place] = field(default_factory=dict)
    sheets: dict[str, SheetMark] = field(default_factory=dict)

    def place(self, name: str) -> Place:
        """Returns the place in a file; its beginning if nothing of it was sent."""
        return self.lines.get(name, Place())

    def with_place(self, name: str, place: Place) -> Position:
        """Returns the position with another place in a file."""
        return replace(self, lines={**self.lines, name: place})

    def with_sheet(self, name: str, mark: SheetMark) -> Position:
        """Returns the position with another version of a sheet."""
        return replace(self, sheets={**self.sheets, name: mark})


def file_stem(logger: str) -> str:
    """Returns the stem of a logger's files in the run folder: 'log-wandb', 'log-my_logger.MyLogger'."""
    return f'log-{re.sub(r"[^A-Za-z0-9_.-]", ".", logger)}'


def read_position(path: Path) -> Position:
    """Returns the position in a file; the beginning if there is no such file. Raises ConfigError if it is damaged."""
    if not path.exists():
        return Position()
    try:
        record = read_record(path)
        return Position(
            segment=record.whole('segment', low=1),
            state=record.text('state'),
            lines={name: _place(record.record('lines').record(name)) for name in record.record('lines').values},
            sheets={name: _sheet(record.record('sheets').record(name)) for name in record.record('sheets').values},
        )
    except RecordError as error:
        raise ConfigError(f'{error}; remove the file to send the whole run again') from None


def _place(record: Record) -> Place:
    return Place(record.whole('offset'), record.text('mark'), record.whole('nimg', low=-1), record.whole('before'))


def _sheet(record: Record) -> SheetMark:
    return SheetMark(record.whole('mtime_ns'), record.text('digest'))


def write_position(path: Path, position: Position) -> None:
    """Replaces the file; a reader sees the old one or the new one. Raises OSError.

    Does not wait for the disk, since a run may have thousands of lines: after a power failure the last lines may be
    sent again. The temporary name is not one of those that a rewind of the run sweeps away.
    """
    tmp = path.with_name(f'.{path.name}.new')
    tmp.write_text(json.dumps(asdict(position), indent=2) + '\n')
    os.replace(tmp, path)
