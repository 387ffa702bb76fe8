"""Updates of a live report: what has changed in the folders since the page was made, as messages to its script."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from ganfoundry.report.charts import Chart
from ganfoundry.report.page import page_html, section_html
from ganfoundry.report.run_charts import metric_charts, tick_charts
from ganfoundry.report.run_reading import Changes, RunReading, SheetFile
from ganfoundry.report.run_sections import CROPPED, all_sections, lead_of, text_sections, title_of
from ganfoundry.report.run_sheets import EncodedSheet, encode_sheet, image_size, run_entry, sheet_entry

INTERVAL_S = 0.5  # shortest time between two readings of the folders
KEPT = 1000  # messages that a page may have missed; one that has missed more is loaded again
CACHED = 64  # encoded sheets

RELOAD = json.dumps({'reload': True})


class LiveReport:
    """Runs that are watched, and the messages about them. The methods may be called by several threads.

    Args:
        runs: The runs, read once.
        token: Token of the server, which the page's requests must have.
        full: Neither crop nor scale the sheets.
    """

    def __init__(self, runs: Sequence[RunReading], token: str, *, full: bool = False) -> None:
        self.runs, self._token, self._full = runs, token, full
        self._boot = secrets.token_hex(8)
        self._messages: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._number = 0
        self._lock = threading.Lock()
        self._read_at = 0.0
        self._encoded: dict[SheetFile, EncodedSheet | None] = {}
        self._remember()

    def _remember(self) -> None:
        """Notes what the page shows, to which later readings are compared."""
        self._charts = tick_charts(self.runs)
        self._metrics = {chart.identifier: chart.data() for chart in metric_charts(self.runs)}
        self._html = {title: section_html(section) for title, section in text_sections(self.runs).items()}
        self._lead = lead_of(self.runs)
        self._shape = self._shape_of()

    def _shape_of(self) -> Any:
        """Returns the parts of the page that no message changes: charts, their curves, and runs that have sheets."""
        metrics = [(key, [series['name'] for series in data['series']]) for key, data in self._metrics.items()]
        return (
            self._charts,
            metrics,
            [bool(run.sheets) for run in self.runs],
            [bool(html) for html in self._html.values()],
        )

    def page(self) -> str:
        """Returns the page of what was read last, which asks for the messages after that."""
        self.update()
        with self._lock:
            entries = []
            for index, run in enumerate(self.runs):
                first = next(iter(run.sheets.values()), None)
                encoded = self._encode(run, first) if first else None
                shown = [self._entry(index, sheet) for sheet in run.sheets.values()]
                reals = self._address(f'reals/{index}') if encoded and self.reals_of(index) else ''
                entries.append((run_entry(run, encoded.cells if encoded else None, shown, reals), encoded))
            cropped = any(encoded.is_cropped for _, encoded in entries if encoded)
            sections = all_sections(self.runs, self._charts, CROPPED if cropped else '')
            address = self._address('events', since=self._number, boot=self._boot)
            data = {'sheets': [entry for entry, _ in entries], 'live': {'events': address}}
            return page_html(title_of(self.runs), sections, lead=self._lead, data=data, live=True)

    def _address(self, path: str, **query: Any) -> str:
        return f'{path}?{urlencode({"token": self._token, **query})}'

    def _entry(self, index: int, sheet: SheetFile) -> dict[str, Any]:
        src = self._address(f'sheet/{index}/{sheet.nimg}', v=f'{sheet.mtime_ns:x}')
        return sheet_entry(self.runs[index], sheet.nimg, src)

    # ---- messages

    def messages(self, boot: str, since: int) -> list[tuple[int, str]]:
        """Returns the messages after a number, with their own.

        Args:
            boot: Identifier of the server that has made the page.
            since: Number of the last message that the page has.
        """
        self.update()
        with self._lock:
            oldest = self._messages[0][0] if self._messages else self._number + 1
            if boot != self._boot or since > self._number or since + 1 < oldest:
                return [(self._number, RELOAD)]
            return [message for message in self._messages if message[0] > since]

    def update(self) -> None:
        """Reads the folders, unless they were read a moment ago, and adds a message if anything has changed."""
        with self._lock:
            if time.monotonic() - self._read_at < INTERVAL_S:
                return
            changes = [run.update() for run in self.runs]
            self._read_at = time.monotonic()
            message = self._message(changes)
            if message:
                self._number += 1
                self._messages.append((self._number, json.dumps(message, allow_nan=False)))

    def _message(self, changes: Sequence[Changes]) -> dict[str, Any]:
        """Returns what the page does not show yet; empty if there is nothing."""
        if not any(changes):
            return {}
        html, lead, metrics, shape = self._html, self._lead, self._metrics, self._shape
        self._remember()
        grown = {key: _appended(metrics.get(key), data) for key, data in self._metrics.items()}
        if self._shape != shape or any(change.restarted for change in changes) or None in grown.values():
            return {'reload': True}
        points = [point for found in grown.values() for point in found or ()]
        for index, change in enumerate(changes):
            if change.first_tick is not None:
                points += [p for chart in self._charts for p in chart.points(self.runs, index, change.first_tick)]
        message = {
            'lead': self._lead if self._lead != lead else None,
            'sections': {title: text for title, text in self._html.items() if html[title] != text},
            'points': points,
            'sheets': [
                {'run': index, 'sheet': self._entry(index, sheet)}
                for index, change in enumerate(changes)
                for sheet in change.sheets
            ],
        }
        return {name: value for name, value in message.items() if value}

    # ---- pictures

    def sheet_of(self, index: int, nimg: int) -> bytes | None:
        """Returns a sheet as WebP; None if there is no such run or sheet, or if it is damaged."""
        if index >= len(self.runs) or nimg not in self.runs[index].sheets:
            return None
        encoded = self._encode(self.runs[index], self.runs[index].sheets[nimg])
        return encoded.data if encoded else None

    def reals_of(self, index: int) -> bytes | None:
        """Returns the sheet of a run's real images as WebP; None if there is none."""
        if index >= len(self.runs):
            return None
        run = self.runs[index]
        encoded = encode_sheet(run.folder.path / 'reals.png', image_size(run.record), full=self._full)
        return encoded.data if encoded else None

    def _encode(self, run: RunReading, sheet: SheetFile) -> EncodedSheet | None:
        if sheet not in self._encoded:
            while len(self._encoded) >= CACHED:
                self._encoded.pop(next(iter(self._encoded)), None)
            self._encoded[sheet] = encode_sheet(sheet.path, image_size(run.record), full=self._full)
        return self._encoded[sheet]


def _appended(before: dict[str, Any] | None, now: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Returns the points by which the series of a chart have grown; None if they differ in another way.

    Args:
        before: The chart as the page shows it.
        now: The chart as it is.
    """
    if before is None or len(before['series']) != len(now['series']):
        return None
    found = []
    for index, (old, new) in enumerate(zip(before['series'], now['series'], strict=True)):
        count = len(old['x'])
        if any(new[name][: len(old[name])] != old[name] for name in ('x', 'y', 'low', 'high')):
            return None
        if bool(old['low']) != bool(new['low']) and count:
            return None
        if len(new['x']) > count or new['best'] != old['best']:
            points = {name: new[name][count:] for name in ('x', 'y', 'low', 'high')}
            found.append({'chart': Chart(title=now['title'], series=[]).identifier, 'series': index,
                          'points': points | {'best': new['best']}})  # fmt: skip
    return found
