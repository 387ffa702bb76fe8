"""Sheets of images: the layout of a row, and images requested in the order of their stream."""

import numpy as np
import pytest

from metrics.sheet import GAP, HEAD, LABEL, MIN_SIDE, Sheet, draw_sheet


def image(value, channels, height=6, width=4):
    return np.full((channels, height, width), value, np.uint8)


@pytest.mark.parametrize(('fake', 'real'), [(1, 1), (3, 3), (1, 3), (3, 1)])
def test_a_row_is_a_sample_and_its_nearest_reals_each_at_least_64_pixels_wide(fake, real):
    chosen = Sheet([2, 0], [[5, 6], [7, 8]], 'copies')
    sheet = draw_sheet(chosen, lambda at: [image(100 + i, fake) for i in at], lambda at: [image(i, real) for i in at])
    width, height = MIN_SIDE, MIN_SIDE * 6 // 4
    assert sheet.shape == (3, HEAD + 2 * (height + GAP), LABEL + 3 * (width + GAP) + 4 * GAP)
    assert sheet.dtype == np.uint8
    lefts = [LABEL + GAP, LABEL + width + 5 * GAP, LABEL + 2 * width + 6 * GAP]
    for row, values in enumerate(([102, 5, 6], [100, 7, 8])):
        top = HEAD + row * (height + GAP)
        for left, value in zip(lefts, values, strict=True):
            assert (sheet[:, top : top + height, left : left + width] == value).all()
            assert (sheet[:, top : top + height, left + width : left + width + GAP] == 255).all()


def test_every_row_and_both_kinds_of_columns_have_a_label():
    sheet = draw_sheet(
        Sheet([7, 123], [[0, 1], [2, 3]], ''),
        lambda at: [image(255, 3)] * len(at),
        lambda at: [image(255, 3)] * len(at),
    )
    dark = (sheet < 128).all(axis=0)
    height = MIN_SIDE * 6 // 4 + GAP
    assert dark[HEAD : HEAD + height, :LABEL].any()
    assert dark[HEAD + height :, :LABEL].any()
    assert dark[:HEAD, LABEL : LABEL + MIN_SIDE].any()
    assert dark[:HEAD, LABEL + MIN_SIDE + GAP :].any()


def test_a_large_image_keeps_its_pixels():
    sheet = draw_sheet(Sheet([0], [[0]], ''), lambda at: [image(9, 3, 100, 90)], lambda at: [image(8, 3, 100, 90)])
    assert (sheet == 9).sum() == (sheet == 8).sum() == 3 * 100 * 90


def test_alpha_is_composed_over_white():
    clear = np.zeros((4, 64, 64), np.uint8)
    sheet = draw_sheet(Sheet([0], [[0]], ''), lambda at: [clear], lambda at: [clear])
    assert (sheet[:, HEAD:, LABEL:] == 255).all()


def test_generated_images_are_requested_once_in_ascending_order():
    requested = []

    def fakes(positions):
        requested.append(list(positions))
        return [np.zeros((1, 2, 2), np.uint8)] * len(positions)

    draw_sheet(Sheet([7, 3, 7], [[0], [1], [2]], ''), fakes, lambda at: [np.ones((1, 2, 2), np.uint8)] * len(at))
    assert requested == [[3, 7]]
