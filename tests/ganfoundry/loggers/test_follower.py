"""Records that follow a position: appended lines, sheets, cut lines, rewinds, copies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ganfoundry.loggers import follower
from ganfoundry.loggers.follower import Scalars, after_rewinds, events
from ganfoundry.loggers.position import Position, read_position, write_position
from tests.support.run_records import METRIC, add_snapshot, add_tick, make_folder
from training.run.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return make_folder(tmp_path / 'run')


def shown(event) -> tuple:
    if isinstance(event, Scalars):
        return next(iter(event.values)), event.nimg
    return event.path.name, event.nimg


def read(folder: RunFolder, position: Position) -> tuple[list[tuple], Position]:
    """Returns everything new, and the position behind it."""
    found = []
    position = after_rewinds(folder.path, position)
    for event, behind in events(folder.path, position):
        position = behind
        if event is not None:
            found.append(shown(event))
    return found, position


def test_everything_comes_in_the_order_of_images_and_once(folder):
    for nimg in (40, 200, 400):
        add_tick(folder, nimg)
    add_snapshot(folder, 400)
    found, position = read(folder, Position())
    loss, metric = 'Loss/G/loss', f'Metrics/{METRIC}'
    assert found == [('fakes_init.png', 0), ('reals.png', 0), (loss, 40), (loss, 200), (loss, 400), (metric, 400),
                     ('fakes000000_400.png', 400)]  # fmt: skip
    assert read(folder, position) == ([], position)
    add_tick(folder, 600)
    assert read(folder, position)[0] == [(loss, 600)]


def test_only_appended_bytes_are_read(folder, monkeypatch):
    for nimg in range(1000):
        add_tick(folder, nimg)
    _, position = read(folder, Position())
    add_tick(folder, 1000)
    parsed = []
    parse = follower.parse_record
    monkeypatch.setattr(follower, 'parse_record', lambda line, *rest: parsed.append(line) or parse(line, *rest))
    assert read(folder, position)[0] == [('Loss/G/loss', 1000)]
    assert len(parsed) == 1


def test_a_line_that_is_not_whole_is_read_when_it_is(folder):
    add_tick(folder, 40)
    whole = folder.stats.read_bytes()
    folder.stats.write_bytes(whole[:-10])
    found, position = read(folder, Position())
    assert [nimg for _, nimg in found] == [0, 0]
    folder.stats.write_bytes(whole)
    assert read(folder, position)[0] == [('Loss/G/loss', 40)]


def test_damaged_lines_are_passed_over(folder):
    folder.stats.write_text('{"nimg": 1}\nrubbish\n[]\n{"nimg": -1}\n{"Loss/G/loss": 3, "nimg": 2}\n\xff\n', 'latin-1')
    add_tick(folder, 40)
    assert [nimg for _, nimg in read(folder, Position())[0]] == [0, 0, 40]


def test_a_rewind_of_sent_lines_begins_a_segment_and_sends_what_is_new(folder):
    for nimg in (200, 400, 600, 800):
        add_tick(folder, nimg)
        add_snapshot(folder, nimg)
    _, position = read(folder, Position())
    folder.rewind(500)
    found, rewound = read(folder, position)
    assert found == []  # the sheets of 600 and 800 are left from before the rewind
    assert rewound.segment == 2
    for nimg in (600, 800):
        add_tick(folder, nimg, loss=0.7)
        add_snapshot(folder, nimg)
        os.utime(folder.sheet(nimg))
    found, last = read(folder, rewound)
    names = ['Loss/G/loss', f'Metrics/{METRIC}']
    assert found == [(names[0], 600), (names[1], 600), ('fakes000000_600.png', 600),
                     (names[0], 800), (names[1], 800), ('fakes000000_800.png', 800)]  # fmt: skip
    assert last.segment == 2
    assert read(folder, last)[0] == []


def test_a_rewind_that_is_over_before_anybody_looks_sends_each_line_once(folder):
    for nimg in (200, 400, 600):
        add_tick(folder, nimg)
    _, position = read(folder, Position())
    for end in (300, 500):  # two rewinds
        folder.rewind(end)
        for nimg in range(end // 200 * 200 + 200, 801, 200):
            add_tick(folder, nimg, loss=end)
    found, position = read(folder, position)
    assert found == [('Loss/G/loss', nimg) for nimg in (400, 600, 800)]
    assert position.segment == 2


def test_a_rewind_of_lines_that_were_not_sent_changes_nothing(folder):
    add_tick(folder, 200)
    _, position = read(folder, Position())
    for nimg in (400, 600):
        add_tick(folder, nimg)
    folder.rewind(200)
    add_tick(folder, 400)
    found, position = read(folder, position)
    assert found == [('Loss/G/loss', 400)]
    assert position.segment == 1
    add_tick(folder, 600)
    _, position = read(folder, position)
    folder.rewind(400)
    add_tick(folder, 600)
    found, position = read(folder, position)
    assert found == [('Loss/G/loss', 600)]
    assert position.segment == 2


def test_a_file_that_was_cleaned_by_hand_sends_nothing_again(folder):
    for nimg in (200, 400):
        add_tick(folder, nimg)
    _, position = read(folder, Position())
    lines = folder.stats.read_text().splitlines(keepends=True)
    folder.stats.write_text(lines[1])
    add_tick(folder, 600)
    found, position = read(folder, position)
    assert found == [('Loss/G/loss', 600)]
    assert position.segment == 1


def test_a_copy_of_the_folder_with_other_times_sends_nothing_again(folder, tmp_path):
    add_tick(folder, 400)
    add_snapshot(folder, 400)
    _, position = read(folder, Position())
    copy = RunFolder(tmp_path / 'copy')
    shutil.copytree(folder.path, copy.path, copy_function=shutil.copyfile)
    for path in copy.path.glob('*.png'):
        os.utime(path, (1, 1))
    found, behind = read(copy, position)
    assert found == []
    assert behind != position  # the times are noted, so that the bytes are not read again
    assert read(copy, behind) == ([], behind)


def test_sheets_of_earlier_versions_are_named_by_kimg(folder):
    add_tick(folder, 200_000)
    (folder.path / 'fakes_init.png').rename(folder.path / 'fakes000200.png')
    assert ('fakes000200.png', 200_000) in read(folder, Position())[0]


def test_a_position_is_the_same_after_writing_and_reading(folder, tmp_path):
    add_tick(folder, 400)
    add_snapshot(folder, 400)
    _, position = read(folder, Position())
    write_position(tmp_path / 'log-a.json', position)
    assert read_position(tmp_path / 'log-a.json') == position
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ['log-a.json']
