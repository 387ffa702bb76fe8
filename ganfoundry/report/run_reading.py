"""Reading of a run folder that may be running, dead, copied or half-written: any file may be absent, or end anywhere.

Nothing is written and no lock is taken. Files that grow are read on from where the last reading ended.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnnlib.errors import CheckpointError, RecordError
from dnnlib.records import RESULTS, parse_record, read_record
from ganfoundry.gen_video.timelapse import nimg_of_sheet
from ganfoundry.report.appended import AppendedLines
from ganfoundry.report.lock_state import LockState, lock_state
from ganfoundry.report.run_log import RunLog
from ganfoundry.report.ticks import NIMG, Ticks
from training.run.lines import check_measurement, comparable
from training.run.run_folder import RunFolder

_MOMENT = re.compile(r'fakes(\d{6,})(?:_(\d{3}))?\.png')


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetFile:
    """A sample sheet. size_bytes and mtime_ns: those of the file when it was found, to notice another one."""

    path: Path
    nimg: int
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BestSnapshot:
    """Content of best.json."""

    metric: str
    value: float
    nimg: int
    snapshot: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAside:
    """Lines that a rollback or the resume of a killed run has replaced. first, last: nimg of the first and last one."""

    name: str
    count: int
    first: int
    last: int


@dataclass(kw_only=True, slots=True)
class Changes:
    """Differences between two readings.

    Attributes:
        first_tick: Index of the first new tick; None without one.
        restarted: Whether ticks or lines of the log that were read are void.
        metrics: Names of metrics with other lines.
        sheets: Sheets that are new or were written again.
        others: Whether anything else has changed.
    """

    first_tick: int | None = None
    restarted: bool = False
    metrics: set[str] = field(default_factory=set)
    sheets: list[SheetFile] = field(default_factory=list)
    others: bool = False

    def __bool__(self) -> bool:
        """Whether anything has changed."""
        return self.first_tick is not None or self.restarted or bool(self.metrics or self.sheets) or self.others


class RunReading:
    """A run folder as far as it was read.

    Attributes:
        folder: Paths of the folder.
        name: Name of the run in the report.
        record: config.json, empty if it cannot be read.
        problem: Why config.json cannot be read, '' if it was.
        ticks: Numbers of stats.jsonl.
        log: Contents of log.txt.
        sheets: Sample sheets by nimg, in their order.
        best: Content of best.json, None if there is none.
        aside: Lines that were set aside.
        lock: Holder of the lock.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.folder, self.name = RunFolder(path), name
        self.record: dict[str, Any] = {}
        self.problem = ''
        self.best: BestSnapshot | None = None
        self.aside: list[SetAside] = []
        self.sheets: dict[int, SheetFile] = {}
        self.lock = LockState(held=False)
        self._seen: dict[Path, tuple[int, int, int] | None] = {}
        self._restart()

    def _restart(self) -> None:
        self.ticks, self.log = Ticks(), RunLog()
        self._stats, self._log_lines = AppendedLines(self.folder.stats), AppendedLines(self.folder.path / 'log.txt')
        self._metric_lines: dict[str, AppendedLines] = {}
        self._metrics: dict[str, list[dict[str, Any]]] = {}

    @property
    def metrics(self) -> dict[str, list[dict[str, Any]]]:
        """Lines of every metric that are comparable with its newest one, by the metric's name, sorted by nimg."""
        curves = {name: comparable(lines) for name, lines in sorted(self._metrics.items())}
        return {name: lines for name, lines in curves.items() if lines}

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds nothing of a run."""
        return not (self.record or len(self.ticks) or self._metrics or self.sheets or self.log.launches)

    @property
    def nimg(self) -> int:
        """Number of images at the newest tick; 0 without one."""
        return int(self.ticks.last(NIMG) or 0)

    def update(self) -> Changes:
        """Reads what has changed since the last call."""
        changes = Changes()
        self._read_stats(changes)
        self._read_log(changes)
        self._read_metrics(changes)
        self._read_sheets(changes)
        self._read_records(changes)
        lock = lock_state(self.folder.lock)
        changes.others |= lock != self.lock
        self.lock = lock
        return changes

    def _read_stats(self, changes: Changes) -> None:
        if not self._stats.changed():
            return
        restarted, lines = self._stats.read()
        before = 0 if restarted else len(self.ticks)
        if restarted:
            self.ticks = Ticks()
        first = self.ticks.add(lines)
        changes.restarted |= restarted or first < before
        if first < len(self.ticks):
            changes.first_tick = first

    def _read_log(self, changes: Changes) -> None:
        if self._log_lines.changed():
            restarted, lines = self._log_lines.read()
            if restarted:
                self.log = RunLog()
            self.log.add(lines)
            changes.restarted |= restarted
            changes.others = True

    def _read_metrics(self, changes: Changes) -> None:
        for path in self._listed('metric-*.jsonl'):
            name = path.name.removeprefix('metric-').removesuffix('.jsonl')
            source = self._metric_lines.setdefault(name, AppendedLines(path))
            if not source.changed():
                continue
            restarted, lines = source.read()
            before = [] if restarted else self._metrics.get(name, [])
            self._metrics[name] = before + list(_measurements(lines))
            changes.restarted |= restarted
            changes.metrics.add(name)

    def _read_sheets(self, changes: Changes) -> None:
        found = {}
        for path in self._listed('fakes*.png'):
            facts = _facts(path)
            if facts is not None:
                known = next((sheet for sheet in self.sheets.values() if sheet.path == path), None)
                if known is None or (known.size_bytes, known.mtime_ns) != facts:
                    nimg = nimg_of(path)
                    known = (
                        None
                        if nimg is None
                        else SheetFile(path=path, nimg=nimg, size_bytes=facts[0], mtime_ns=facts[1])
                    )
                    changes.sheets += [known] if known else []
                if known is not None:
                    found[known.nimg] = known
        changes.restarted |= not set(self.sheets) <= set(found)
        self.sheets = dict(sorted(found.items()))

    def _read_records(self, changes: Changes) -> None:
        if self._is_new(self.folder.config):
            changes.others = True
            self.record, self.problem = {}, ''
            try:
                self.record = self.folder.record()
            except CheckpointError as error:
                self.problem = str(error) if os.path.lexists(self.folder.config) else ''
        if self._is_new(self.folder.best_record):
            changes.others = True
            self.best = _best_of(self.folder.best_record)
        for path in self._listed('*.before-*'):
            if self._is_new(path):
                changes.others = True
                self.aside = [item for item in self.aside if item.name != path.name]
                self.aside += [item] if (item := _set_aside(path)) else []

    def _is_new(self, path: Path) -> bool:
        """Whether a small file has changed since it was last asked for; an absent one has not at the first time."""
        facts = None
        with contextlib.suppress(OSError):
            found = path.stat()
            facts = (found.st_ino, found.st_size, found.st_mtime_ns)
        before, self._seen[path] = self._seen.get(path), facts
        return before != facts

    def _listed(self, pattern: str) -> list[Path]:
        try:
            return sorted(self.folder.path.glob(pattern))
        except OSError:
            return []


def nimg_of(sheet: Path) -> int | None:
    """Returns the number of images of a sheet, by its text chunk or else its name; None if it is no sheet."""
    if (nimg := nimg_of_sheet(sheet)) is not None and nimg >= 0:
        return nimg
    if sheet.name == 'fakes_init.png':
        return 0
    found = _MOMENT.fullmatch(sheet.name)
    return None if found is None else int(found[1]) * 1000 + int(found[2] or 0)


def _facts(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _measurements(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        with contextlib.suppress(RecordError):
            record = parse_record(line, 'a metric', RESULTS)
            check_measurement(record)
            yield record.values


def _best_of(path: Path) -> BestSnapshot | None:
    try:
        record = read_record(path, RESULTS)
        return BestSnapshot(
            metric=record.text('metric'),
            value=record.number('value', finite=False),
            nimg=record.whole('nimg'),
            snapshot=record.text('snapshot'),
        )
    except RecordError:
        return None


def _set_aside(path: Path) -> SetAside | None:
    """Returns a summary of the lines of NAME.before-N; None if none of them has a number of images."""
    moments = []
    for line in AppendedLines(path).read()[1]:
        with contextlib.suppress(RecordError):
            moments.append(parse_record(line, path.name, RESULTS).whole('nimg'))
    if not moments:
        return None
    return SetAside(name=path.name, count=len(moments), first=min(moments), last=max(moments))
