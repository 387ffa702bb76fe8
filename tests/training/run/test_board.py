"""Event files of TensorBoard: readable by TensorBoard, and errors that are raised in the caller's thread."""

from __future__ import annotations

import io
import itertools
import json
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dnnlib.log import Log
from torch_utils.images import save_png
from training.run import board
from training.run.board import Board
from training.run.report import Reporter
from training.run.run_folder import RunFolder

pytest.importorskip('tensorboard')
FULL = '/dev/full'


def points(folder: Path) -> list[tuple[int, str, float]]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    events = [event for path in sorted(folder.glob('events*')) for event in LegacyEventFileLoader(str(path)).Load()]
    return [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]


def test_tensorboard_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, '_number', itertools.count(9))  # readers sort the files of a second by name
    first, again = Board(tmp_path), Board(tmp_path)
    first.add({'a': 0.5, 'b': float('inf')}, 7)
    again.add({'a': 1.0}, 8)
    first.close()
    again.close()
    assert points(tmp_path) == [(7, 'a', 0.5), (7, 'b', float('inf')), (8, 'a', 1.0)]


def pictures(folder: Path) -> list[tuple[int, str, tuple[int, int], PIL.Image.Image]]:
    """Returns step, name, stated size and contents of every picture."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    events = [event for path in sorted(folder.glob('events*')) for event in LegacyEventFileLoader(str(path)).Load()]
    found = [(event.step, value.tag, value.image) for event in events for value in event.summary.value]
    return [
        (step, tag, (image.width, image.height), PIL.Image.open(io.BytesIO(image.encoded_image_string)))
        for step, tag, image in found
        if image.encoded_image_string
    ]


@pytest.mark.parametrize(('size', 'shown'), [((48, 32), (48, 32)), ((4096, 1024), (1024, 256))])
def test_a_sheet_is_a_picture_of_its_step(tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, [3, size[1], size[0]], dtype=np.uint8)
    save_png(pixels, tmp_path / 'a.png')
    written = Board(tmp_path)
    written.add_picture('Samples', tmp_path / 'a.png', 7)
    written.close()
    ((step, name, stated, picture),) = pictures(tmp_path)
    assert (step, name, stated, picture.size) == (7, 'Samples', shown, shown)
    if size == shown:
        assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), pixels)


def test_every_sheet_of_a_run_reaches_tensorboard(make_loop) -> None:
    loop, _ = make_loop()
    sheets = sorted(loop.folder.path.glob('fakes*.png'))
    found = pictures(loop.folder.path)
    assert len(found) == len(sheets) >= 2
    assert [step for step, *_ in found] == sorted(step for step, *_ in found)
    with PIL.Image.open(loop.folder.path / 'fakes_init.png') as first:
        assert np.array_equal(np.asarray(found[0][3]), np.asarray(first))


def test_a_sheet_that_cannot_be_sent_is_one_warning(tmp_path: Path) -> None:
    with Log(tmp_path / 'log.txt', stream=io.StringIO()) as log:
        reporter = Reporter(RunFolder(tmp_path), log, None)
        reporter.sheet(tmp_path / 'absent.png', 0)
        reporter.sheet(tmp_path / 'absent.png', 1)
        reporter.close()
    assert (tmp_path / 'log.txt').read_text().count('TensorBoard failed and is disabled') == 1


@pytest.mark.parametrize(('record', 'steps'), [({'run_id': 'a'}, [250, 500]), ({}, [0, 0])])
def test_steps_are_images_and_in_runs_of_earlier_versions_kimg(tmp_path: Path, record: dict, steps: list[int]) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_text(json.dumps({'config': {'cfg': 'auto'}, 'facts': {}} | record))
    with Log(stream=io.StringIO()) as log:
        reporter = Reporter(folder, log, None)
        for nimg in (250, 500):
            reporter._to_board({'a': 1.0}, nimg)
        reporter.close()
    assert [step for step, _, _ in points(tmp_path)] == steps


@pytest.mark.skipif(not Path(FULL).exists(), reason='no /dev/full')
def test_a_full_disk_is_one_warning_and_no_thread_prints_a_traceback(tmp_path: Path, capfd) -> None:
    threads = threading.active_count()
    with Log(tmp_path / 'log.txt') as log:
        reporter = Reporter(RunFolder(tmp_path), log, None)
        reporter._board.close()
        reporter._board._records._writer = open(FULL, 'ab')  # noqa: SIM115
        for step in range(3):
            reporter._to_board({'a': 1.0}, step)
        reporter.close()
    assert threading.active_count() == threads
    assert (tmp_path / 'log.txt').read_text().count('TensorBoard failed and is disabled') == 1
    assert capfd.readouterr().err == ''
