"""Names of rows and captions: images keep their pixels, texts are readable and opaque, long ones are cut."""

import numpy as np
import pytest

from ganfoundry.captions import caption, row_names


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_names_stand_to_the_left_and_the_pixels_stay(channels):
    sheet = np.random.default_rng(0).integers(0, 256, [channels, 48, 40], np.uint8)
    named = row_names(sheet, ['cat', 'dog'])
    margin = named.shape[2] - 40
    assert margin > 20
    assert np.array_equal(named[:, :, margin:], sheet)
    for row in (named[0, :24, :margin], named[0, 24:, :margin]):
        assert row.max() == 255
        assert row.min() < 64  # a text is there
    if channels in (2, 4):
        assert (named[-1, :, :margin] == 255).all()


def test_a_caption_is_below_and_breaks_its_lines():
    sheet = np.zeros([3, 8, 100], np.uint8)
    one, many = caption(sheet, 'short'), caption(sheet, 'many words that do not fit into one line of this sheet')
    assert one.shape[2] == many.shape[2] == 100
    assert 8 < one.shape[1] < many.shape[1]
    assert np.array_equal(many[:, :8], sheet)


def test_names_of_others_are_drawn_whatever_they_hold():
    sheet = np.zeros([3, 16, 8], np.uint8)
    wide = row_names(sheet, ['x' * 1000])
    assert wide.shape[2] < 600
    assert row_names(sheet, ['\x1b[31m\n\udcff 猫']).shape[1] == 16
