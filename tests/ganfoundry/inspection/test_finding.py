"""Findings: rows of different sizes in one sheet, colors at their values, files with their origin."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from ganfoundry.inspection.finding import Finding, heat, sheet_of, signed, write_finding


def test_colors_are_those_of_the_ends_and_of_zero() -> None:
    red, white, blue = signed(np.array([[[2.0, 0.0, -2.0]]]))[0].transpose(2, 1, 0)[:, 0]
    assert red[0] > red[2]
    assert list(white) == [255, 255, 255]
    assert blue[2] > blue[0]
    dark, bright = heat(np.array([[[0.0, 5.0]]]))[0].transpose(2, 1, 0)[:, 0]
    assert bright.sum() > dark.sum()
    assert (heat(np.zeros([1, 2, 2])) == heat(np.zeros([1, 2, 2]), 0, 1)).all()


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 6])
def test_a_sheet_holds_rows_of_any_size_and_channels(channels: int) -> None:
    rows = [('a', np.zeros([2, channels, 4, 6], np.uint8)), ('b', np.full([2, 3, 8, 12], 200, np.uint8))]
    sheet = sheet_of(Finding(rows=rows, lines=['a sentence']))
    assert sheet.shape[0] == 3
    assert sheet.shape[1] > 2 * 64
    assert sheet.shape[2] > 2 * 96


def test_files_hold_the_origin(tmp_path, capsys) -> None:
    finding = Finding(rows=[('a', np.zeros([1, 3, 8, 8], np.uint8))], facts={'x': 1}, lines=['found 1'])
    write_finding(finding, tmp_path, 'blocks', {'network': 'n.safetensors'})
    assert json.loads((tmp_path / 'blocks.json').read_text()) == {'network': 'n.safetensors', 'x': 1}
    with Image.open(tmp_path / 'blocks.png') as picture:
        assert picture.info['network'] == 'n.safetensors'
    assert capsys.readouterr().out.splitlines()[0] == 'found 1'
