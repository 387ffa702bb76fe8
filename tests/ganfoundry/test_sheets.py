"""Sheets: 8 bits and at most four channels are shown, and sources are on the margins of a table."""

import numpy as np
import torch

from ganfoundry.drawing import Drawn
from ganfoundry.points import stored_point
from ganfoundry.sheets import collect, visible, with_margins


def drawn(image):
    return Drawn(stored_point('a', 'z', torch.zeros(2), torch.zeros(0)), image, (0, 1))


def test_sheets_show_8_bits_and_the_first_three_of_many_channels(tmp_path):
    deep = np.full([6, 2, 4], 65535, np.uint16)
    assert visible(drawn(deep)).dtype == np.uint8
    assert collect([drawn(deep)] * 2, 2, tmp_path / 'a.png').shape == (2, 3, 2, 4)
    assert visible(drawn(np.zeros([4, 2, 4], np.uint8))).shape == (4, 2, 4)


def test_a_table_has_its_sources_on_the_margins():
    rows, cols = np.full([2, 1, 2, 2], 1, np.uint8), np.full([3, 1, 2, 2], 2, np.uint8)
    cells = np.arange(10, 16, dtype=np.uint8).reshape(6, 1, 1, 1).repeat(2, 2).repeat(2, 3)
    table = with_margins(rows, cols, cells)
    assert table[0, ::2, ::2].tolist() == [[0, 2, 2, 2], [1, 10, 11, 12], [1, 13, 14, 15]]
