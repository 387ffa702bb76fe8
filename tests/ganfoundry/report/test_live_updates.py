"""Messages of a live report: what was added to the folders, once, and in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ganfoundry.report import live_updates
from ganfoundry.report.live_updates import LiveReport
from ganfoundry.report.run_report import open_runs
from tests.support.run_folders import metric_line, sheet_pixels, tick_line, write_run
from torch_utils.images import save_png
from training.run.run_folder import RunFolder


@pytest.fixture(autouse=True)
def always_read(monkeypatch: pytest.MonkeyPatch):
    """Reads the folders at every call."""
    monkeypatch.setattr(live_updates, 'INTERVAL_S', 0)


def since(report: LiveReport, number: int) -> list[dict[str, Any]]:
    """Returns the messages after a number."""
    return [json.loads(data) for _, data in report.messages(report._boot, number)]


def append(path: Path, text: str) -> None:
    """Appends text to a file."""
    with path.open('a') as file:
        file.write(text)


def test_a_tick_is_one_message_with_its_points_and_the_new_state(finished: Path):
    report = LiveReport(open_runs([finished]), 'token')
    assert since(report, 0) == []
    append(finished / 'stats.jsonl', tick_line(8, 8000))
    (message,) = since(report, 0)
    points = {(point['chart'], point['series']): point['points'] for point in message['points']}
    assert points['losses', 0]['x'] == [8]
    assert points['losses', 0]['y'] == [0.83]
    assert message['lead'].startswith('Finished at 8 of 6 kimg')
    assert set(message) == {'lead', 'points', 'sections'}
    assert since(report, 0) == [message]
    assert since(report, 1) == []


def test_a_metric_and_a_sheet_are_added(finished: Path):
    report = LiveReport(open_runs([finished]), 'token')
    append(finished / 'metric-fd_efflite1k.jsonl', metric_line(8000, 55))
    save_png(sheet_pixels(8000), RunFolder(finished).sheet(8000), {'nimg': 8000})
    (message,) = since(report, 0)
    (point,) = message['points']
    assert (point['chart'], point['points']['x'], point['points']['y']) == ('fd-efflite1k', [8], [55])
    assert (point['points']['low'], point['points']['best']) == ([53], 3)
    ((sheet),) = message['sheets']
    assert sheet['sheet']['kimg'] == 8
    assert sheet['sheet']['src'].startswith('sheet/0/8000?token=token&v=')
    assert report.sheet_of(0, 8000)[:4] == b'RIFF'


def test_a_warning_replaces_its_section(finished: Path):
    report = LiveReport(open_runs([finished]), 'token')
    append(finished / 'log.txt', 'WARNING: samples have lost their diversity: again; <b>look</b>\n')
    (message,) = since(report, 0)
    assert '&lt;b&gt;look&lt;/b&gt;' in message['sections']['Warnings']


@pytest.mark.parametrize('way', ['rewound', 'fault', 'metric', 'first metric', 'first sheet'])
def test_what_points_cannot_say_loads_the_page_again(finished: Path, tmp_path: Path, way: str):
    other = write_run(tmp_path / 'other', num_ticks=1, metrics=False, ending='')
    (other / 'fakes_init.png').unlink()
    report = LiveReport(open_runs([finished, other]), 'token')
    if way == 'rewound':
        RunFolder(finished).rewind(3000)
    elif way == 'fault':
        append(finished / 'stats.jsonl', tick_line(8, 8000, Health__nonfinite_steps=0.1))
    elif way == 'metric':
        append(finished / 'metric-fd_efflite1k.jsonl', metric_line(3000, 55))  # between two others
    elif way == 'first metric':
        append(other / 'metric-fd_efflite1k.jsonl', metric_line(3000, 55))
    else:
        save_png(sheet_pixels(0), other / 'fakes_init.png')
    assert since(report, 0) == [{'reload': True}]


def test_a_page_of_another_server_or_of_too_long_ago_is_loaded_again(finished: Path, monkeypatch: pytest.MonkeyPatch):
    report = LiveReport(open_runs([finished]), 'token')
    report._messages = type(report._messages)(maxlen=2)
    for index in range(3):
        append(finished / 'stats.jsonl', tick_line(10 + index, 10_000 + index))
        report.update()
    reload = [{'reload': True}]
    assert len(since(report, 1)) == 2
    assert since(report, 0) == reload
    assert since(report, 9) == reload
    assert [json.loads(data) for _, data in report.messages('other', 3)] == reload


def test_the_page_asks_for_what_comes_after_it(finished: Path):
    report = LiveReport(open_runs([finished]), 'token')
    append(finished / 'stats.jsonl', tick_line(8, 8000))
    html = report.page()
    assert f'events?token=token\\u0026since=1\\u0026boot={report._boot}' in html
    assert 'data:image/webp' not in html
    assert report.reals_of(0)[:4] == b'RIFF'


def test_pictures_that_do_not_exist_are_none(finished: Path):
    report = LiveReport(open_runs([finished]), 'token')
    assert report.sheet_of(0, 3000) is None
    assert report.sheet_of(7, 0) is None
    assert report.reals_of(7) is None
