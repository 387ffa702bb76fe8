"""Enlarged images are Pillow's bicubic ones."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ganfoundry.inspection.enlarge import enlarged, inspect_enlarge


def test_each_image_is_pillows(drawing_of) -> None:
    (_, small), (name, large) = inspect_enlarge(drawing_of('squeeze')).rows
    assert small.shape == large.shape == (3, 3, 128, 128)
    assert name == 'bicubic x4'
    source = np.ascontiguousarray(small[1, :, ::4, ::4].transpose(1, 2, 0))
    expected = Image.fromarray(source).resize((128, 128), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(large[1].transpose(1, 2, 0), np.asarray(expected))


def test_six_channels_and_images_that_are_not_square_work() -> None:
    assert enlarged(np.zeros([2, 6, 8, 12], np.uint8)).shape == (2, 6, 32, 48)
