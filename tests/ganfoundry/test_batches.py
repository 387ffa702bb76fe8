"""Images of a caller in a file: written once, read in parts, checked."""

import numpy as np
import pytest
import torch

from dnnlib.errors import DataError
from ganfoundry.batches import ImageFile

SIZE = (8, 12)
IMAGES = np.random.default_rng(0).integers(0, 256, [7, 8, 12, 3], np.uint8)  # [N, H, W, C]


def test_images_come_back_in_parts_with_channels_first(tmp_path):
    file = ImageFile(tmp_path / 'images', SIZE)
    file.write([IMAGES[:2], torch.from_numpy(IMAGES[2:])], 100)
    assert file.num_images == 7
    first, last = file.parts([range(1, 3), range(4, 7)])
    assert np.array_equal(first, IMAGES[1:3].transpose(0, 3, 1, 2))
    assert np.array_equal(last, IMAGES[4:7].transpose(0, 3, 1, 2))
    assert np.array_equal(next(iter(file.parts([range(7)]))), IMAGES.transpose(0, 3, 1, 2))


def test_no_more_images_are_taken_than_are_needed(tmp_path):
    def endless():
        while True:
            yield IMAGES

    file = ImageFile(tmp_path / 'images', SIZE)
    file.write(endless(), 10)
    assert file.num_images == 10
    assert (tmp_path / 'images').stat().st_size == 10 * 8 * 12 * 3


@pytest.mark.parametrize('batch', [IMAGES.transpose(0, 3, 1, 2), IMAGES[0], IMAGES / 255.0, IMAGES[:, :4]])
def test_batches_of_another_kind_are_refused_with_the_kind_that_is_needed(tmp_path, batch):
    with pytest.raises(DataError, match=r'metrics take uint8 \[N, 8, 12, C\], images like the real ones'):
        ImageFile(tmp_path / 'images', SIZE).write([batch], 10)


def test_gray_images_are_kept_and_all_batches_are_like_the_first(tmp_path):
    file = ImageFile(tmp_path / 'images', SIZE)
    file.write([IMAGES[..., :1]], 3)
    assert next(iter(file.parts([range(3)]))).shape == (3, 1, 8, 12)
    with pytest.raises(DataError, match=r'metrics take uint8 \[N, 8, 12, 1\], images like those of the first batch'):
        file.write([IMAGES], 10)


def test_without_real_images_any_size_is_taken(tmp_path):
    file = ImageFile(tmp_path / 'images', None)
    file.write([IMAGES[:, :5]], 3)
    assert next(iter(file.parts([range(3)]))).shape == (3, 3, 5, 12)
    with pytest.raises(DataError, match=r'metrics take uint8 \[N, H, W, C\]'):
        ImageFile(tmp_path / 'images', None).write([IMAGES / 255.0], 3)
