"""New records of a run folder in the order of training: lines of stats.jsonl and metric-NAME.jsonl, and sheets.

Only bytes behind the position are read, and 4 kB before it, which show whether the file is still the same. A rewind of
the run moves lines to NAME.before-N and replaces NAME by the other lines (`training/run/lines.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dnnlib.errors import RecordError
from dnnlib.files import sha256_of
from dnnlib.records import RESULTS, Record, parse_record, read_records
from dnnlib.regular_file import open_regular
from ganfoundry.loggers.position import Place, Position, SheetMark
from training.run.lines import check_measurement, check_stats

MARK_BYTES = 4096
STATS = 'stats.jsonl'
SHEET = re.compile(r'fakes(\d{6,})(?:_(\d{3}))?\.png')
UNTRAINED = ('reals.png', 'fakes_init.png')  # sheets of the moment before the first image


@dataclass(frozen=True, slots=True)
class Scalars:
    """A line of a file: numbers by name after `nimg` images. place: the place behind the line."""

    file: str
    nimg: int
    values: dict[str, float]
    place: Place


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet after `nimg` images, 'reals' or 'fakes', and its version."""

    file: str
    nimg: int
    name: str
    path: Path
    mark: SheetMark


Event = Scalars | Sheet


def events(folder: Path, position: Position) -> Iterator[tuple[Event | None, Position]]:
    """Yields everything that follows a position, in the order of images, each with the position behind it.

    The event is None where the position alone has changed: a copy of the run folder has sheets with other times. A
    sheet is written after the line of its tick; one that is later than the lines is left by a time before a rewind.

    Raises:
        OSError: If a file cannot be read.
        RecordError: If a line is longer than any record.
    """
    streams: list[Iterator[Event]] = [_scalars(folder, STATS, position, check_stats, _of_stats)]
    for path in sorted(folder.glob('metric-*.jsonl')):
        streams.append(_scalars(folder, path.name, position, check_measurement, _of_measurement))
    streams.append(_sheets(folder))
    for event in heapq.merge(*streams, key=lambda event: event.nimg):
        if isinstance(event, Scalars):
            position = position.with_place(event.file, event.place)
            yield event, position
        elif event.nimg <= max(position.place(STATS).nimg, 0):
            sent = position.sheets.get(event.file)
            if sent is None or sent.mtime_ns != event.mark.mtime_ns:
                mark = replace(event.mark, digest=sha256_of(event.path)[:16])
                position = position.with_sheet(event.file, mark)
                yield None if sent is not None and sent.digest == mark.digest else event, position


def after_rewinds(folder: Path, position: Position) -> Position:
    """Returns the position in the files as they are after rewinds of the run; the same one if there was none.

    If lines of stats.jsonl that were sent are no longer part of the run, a new segment begins.

    Raises:
        OSError: If a file cannot be read.
        RecordError: If a line is longer than any record.
    """
    for name, place in position.lines.items():
        path = folder / name
        if not _is_rewritten(path, place):
            continue
        num_before = _num_before(path)
        first_gone = _first_gone(path, place.before, num_before)
        end = min(first_gone, place.nimg + 1)
        kept = Place(before=num_before)
        for nimg, _, behind in _lines(path, kept):
            if nimg is not None and nimg >= end:
                break
            kept = behind
        if name == STATS and first_gone <= place.nimg:
            position = _without_sheets(folder, position, first_gone, num_before)
            position = replace(position, segment=position.segment + 1)
        position = position.with_place(name, kept)
    return position


# ---- lines


def _scalars(
    folder: Path,
    name: str,
    position: Position,
    check: Callable[[Record], None],
    numbers: Callable[[Record], dict[str, float]],
) -> Iterator[Scalars]:
    """Yields the usable lines of a file that follow a position.

    Args:
        folder: The run folder.
        name: Name of the file.
        position: Everything that was sent.
        check: Raises RecordError for a line that cannot be used.
        numbers: Returns the numbers of a line by name.
    """
    path = folder / name
    place = replace(position.place(name), before=_num_before(path))
    for nimg, record, behind in _lines(path, place):
        with contextlib.suppress(RecordError):
            if record is not None and nimg is not None:
                check(record)
                if values := numbers(record):
                    yield Scalars(name, nimg, values, behind)


def _of_stats(record: Record) -> dict[str, float]:
    return {name: record.record(name).number('mean', finite=False) for name in record.values if '/' in name}


def _of_measurement(record: Record) -> dict[str, float]:
    results = record.record('results')
    return {f'Metrics/{name}': results.number(name, finite=False) for name in results.values}


def _lines(path: Path, place: Place) -> Iterator[tuple[int | None, Record | None, Place]]:
    """Yields the whole lines behind a place: number of images and record, None if damaged, and the place behind it."""
    if not path.exists():
        return
    with open_regular(path) as file:
        start = max(place.offset - MARK_BYTES, 0)
        file.seek(start)
        tail = file.read(place.offset - start)
        offset, last = place.offset, place.nimg
        while (line := file.readline(RESULTS.file_bytes + 1)).endswith(b'\n'):
            offset += len(line)
            tail = (tail + line)[-MARK_BYTES:]
            nimg = record = None
            with contextlib.suppress(RecordError):
                record = parse_record(line, path.name, RESULTS)
                nimg = record.whole('nimg')
                last = max(last, nimg)
            yield nimg, record, Place(offset, _digest(tail), last, place.before)
        if len(line) > RESULTS.file_bytes:
            raise RecordError(f'{path}: a line is longer than {RESULTS.file_bytes} bytes')


def _is_rewritten(path: Path, place: Place) -> bool:
    """Whether the bytes before a place are not those that were sent."""
    if place.offset == 0 or not path.exists():
        return False
    with open_regular(path) as file:
        start = max(place.offset - MARK_BYTES, 0)
        file.seek(start)
        return _digest(file.read(place.offset - start)) != place.mark


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _num_before(path: Path) -> int:
    """Returns the number of files NAME.before-N."""
    return next(n for n in itertools.count() if not path.with_name(f'{path.name}.before-{n + 1}').exists())


def _first_gone(path: Path, seen: int, num_before: int) -> int:
    """Returns the smallest number of images of the lines in NAME.before-N, N > seen; a huge one if there is none."""
    smallest = 1 << 63
    for n in range(seen + 1, num_before + 1):
        for record in read_records(path.with_name(f'{path.name}.before-{n}'), damaged=lambda error: None):
            with contextlib.suppress(RecordError):
                smallest = min(smallest, record.whole('nimg'))
    return smallest


# ---- sheets


def _sheets(folder: Path) -> Iterator[Sheet]:
    """Yields the sheets of a run in the order of images, whether or not they were sent."""
    found = [(0, folder / name) for name in UNTRAINED if (folder / name).exists()]
    for path in folder.glob('fakes*.png'):
        if match := SHEET.fullmatch(path.name):
            found.append((int(match[1]) * 1000 + int(match[2] or 0), path))
    for nimg, path in sorted(found):
        with contextlib.suppress(FileNotFoundError):
            mtime_ns = path.stat().st_mtime_ns
            yield Sheet(path.name, nimg, 'reals' if path.stem == 'reals' else 'fakes', path, SheetMark(mtime_ns, ''))


def _without_sheets(folder: Path, position: Position, first_gone: int, num_before: int) -> Position:
    """Returns the position without sheets from `first_gone` on. Those that were drawn before the rewind are ignored.

    Args:
        folder: The run folder.
        position: Everything that was sent.
        first_gone: Number of images of the first line that is no longer part of the run.
        num_before: Number of the file NAME.before-N that the rewind has written.
    """
    rewound_ns = (folder / f'{STATS}.before-{num_before}').stat().st_mtime_ns
    sheets = dict(position.sheets)
    for sheet in _sheets(folder):
        if sheet.nimg >= first_gone:
            sheets.pop(sheet.file, None)
            if sheet.mark.mtime_ns < rewound_ns:
                sheets[sheet.file] = sheet.mark
    return replace(position, sheets=sheets)
