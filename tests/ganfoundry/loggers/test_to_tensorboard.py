"""TensorBoard: it reads the numbers and the sheets, and a rewind is a run of its own there."""

from __future__ import annotations

import io
from pathlib import Path

import PIL.Image
import pytest

from ganfoundry.loggers.send import LogOptions, run_log
from tests.support.run_records import METRIC, add_snapshot, add_tick, make_folder

pytest.importorskip('tensorboard')


def pixels_of(data: bytes) -> bytes:
    """Returns the pixels of a PNG."""
    with PIL.Image.open(io.BytesIO(data)) as picture:
        return picture.tobytes()


def values_in(folder: Path) -> list[tuple[int, str, float | bytes]]:
    """Returns (step, tag, number or pixels) of every value of the event files in a folder."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    events = [event for path in sorted(folder.glob('events*')) for event in LegacyEventFileLoader(str(path)).Load()]
    values = [(event.step, value) for event in events for value in event.summary.value]
    pictures = [v.image.encoded_image_string for _, v in values]
    return [(s, v.tag, pixels_of(p) if p else v.simple_value) for (s, v), p in zip(values, pictures, strict=True)]


def test_numbers_and_sheets_are_read_by_tensorboard(tmp_path):
    folder = make_folder(tmp_path / '00000-run')
    add_tick(folder, 1000)
    add_snapshot(folder, 1000)
    options = LogOptions(run=str(folder.path), to='tensorboard')
    run_log(options)
    pictures = [
        pixels_of((folder.path / name).read_bytes()) for name in ('fakes_init.png', 'reals.png', 'fakes000001.png')
    ]
    assert values_in(folder.path / 'tensorboard') == [
        (0, 'fakes', pictures[0]),
        (0, 'reals', pictures[1]),
        (1000, 'Loss/G/loss', 0.5),
        (1000, f'Metrics/{METRIC}', 100.0),
        (1000, 'fakes', pictures[2]),
    ]
    folder.rewind(500)
    add_tick(folder, 1000, loss=0.25)
    run_log(options)
    assert values_in(folder.path / 'tensorboard' / 'segment-2') == [(1000, 'Loss/G/loss', 0.25)]
    assert len(values_in(folder.path / 'tensorboard')) == 5
