"""Sheets in a page: their size, and which images of them are shown."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ganfoundry.report.run_report import open_runs
from ganfoundry.report.run_sheets import SHEET_BYTES, Cells, caption_of, cells_of, encode_all, encode_sheet, image_size
from torch_utils.images import save_png


@pytest.mark.parametrize(
    ('size', 'image', 'full', 'columns', 'rows'),
    [
        ((512, 512), (32, 32), False, 16, 16),
        ((1024, 1024), (32, 32), False, 16, 16),  # of 32x32 images
        ((7680, 4096), (256, 256), False, 8, 8),  # of 30x16
        ((7168, 4096), (1024, 1024), False, 7, 4),
        ((7680, 4096), (256, 256), True, 30, 16),
        ((60, 40), (32, 32), False, 1, 1),  # no sheet of such images
        ((60, 40), None, False, 1, 1),
    ],
)
def test_images_of_a_large_sheet_keep_a_size_that_can_be_seen(size, image, full, columns, rows):
    cells = cells_of(size, image, full=full)
    assert (cells.columns, cells.rows) == (columns, rows)


@pytest.mark.parametrize(
    ('facts', 'size'),
    [
        ({'resolution': 64, 'base': [4, 6]}, (96, 64)),
        ({'resolution': 32}, (32, 32)),
        ({'resolution': 'x'}, None),
        ({'resolution': 64, 'base': [4, -6]}, None),
        (None, None),
    ],
)
def test_the_size_of_an_image_is_that_of_the_facts(facts, size):
    assert image_size({'facts': facts} if facts else {}) == size


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_a_sheet_of_any_channels_is_scaled_down_to_512_pixels(tmp_path: Path, channels: int):
    save_png(np.full([channels, 1024, 512], 200, dtype=np.uint8), tmp_path / 'a.png')
    sheet = encode_sheet(tmp_path / 'a.png', (512, 512))
    with PIL.Image.open(io.BytesIO(sheet.data)) as picture:
        assert picture.size == (256, 512)
    assert sheet.cells == Cells(width=512, height=512, columns=1, rows=2)
    with PIL.Image.open(io.BytesIO(encode_sheet(tmp_path / 'a.png', (512, 512), full=True).data)) as picture:
        assert picture.size == (512, 1024)


def test_a_sheet_of_noise_is_made_small_enough(tmp_path: Path):
    save_png(np.random.RandomState(0).randint(0, 256, [3, 512, 512], dtype=np.uint8), tmp_path / 'a.png')
    assert len(encode_sheet(tmp_path / 'a.png', (32, 32)).data) > SHEET_BYTES
    assert len(encode_sheet(tmp_path / 'a.png', (32, 32), max_bytes=SHEET_BYTES).data) <= SHEET_BYTES


def test_a_damaged_sheet_is_left_out(finished: Path):
    path = finished / 'fakes000004.png'
    path.write_bytes(path.read_bytes()[:100])
    (found,) = encode_all(open_runs([finished]), full=False, advance=lambda count: None)
    assert list(found) == [0, 2000, 6000]


def test_a_caption_has_the_metric_of_its_moment(finished: Path):
    (run,) = open_runs([finished])
    assert [caption_of(run, nimg) for nimg in (0, 2000, 3000)] == ['untrained', '2 kimg, fd_efflite1k 80', '3 kimg']
