"""Sheets of images: the layout of a row, and images requested in the order of their stream."""

import numpy as np
import pytest

from metrics.sheet import Sheet, draw_sheet


@pytest.mark.parametrize('channels', [1, 3])
def test_a_row_of_the_sheet_is_a_sample_a_gap_and_its_nearest_reals(channels):
    chosen = Sheet([2, 0], [[5, 6], [7, 8]], 'copies')

    def image(value):
        return np.full((channels, 6, 4), value, np.uint8)

    sheet = draw_sheet(chosen, lambda at: [image(100 + i) for i in at], lambda at: [image(i) for i in at])
    assert sheet.shape == (channels, 12, 4 + 4 + 2 * 4)
    assert sheet.dtype == np.uint8
    for row, values in enumerate(([102, 255, 5, 6], [100, 255, 7, 8])):
        band = sheet[:, 6 * row : 6 * row + 6]
        for columns, value in zip((slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 16)), values, strict=True):
            assert (band[:, :, columns] == value).all()


def test_generated_images_are_requested_once_in_ascending_order():
    requested = []

    def fakes(positions):
        requested.append(list(positions))
        return [np.zeros((1, 2, 2), np.uint8)] * len(positions)

    draw_sheet(Sheet([7, 3, 7], [[0], [1], [2]], ''), fakes, lambda at: [np.ones((1, 2, 2), np.uint8)] * len(at))
    assert requested == [[3, 7]]
