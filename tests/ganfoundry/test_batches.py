"""Images of a caller in a file: written once, read in parts, checked."""

import numpy as np
import pytest
import torch

from dnnlib.errors import DataError
from ganfoundry.batches import ImageFile
from training.interface import ImageSpec

SPEC = ImageSpec(resolution=8, channels=3, label_dim=0, num_images=10, base=(4, 6))
IMAGES = np.random.default_rng(0).integers(0, 256, [7, 8, 12, 3], np.uint8)  # [N, H, W, C]


def test_images_come_back_in_parts_with_channels_first(tmp_path):
    file = ImageFile(tmp_path / 'images', SPEC)
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

    file = ImageFile(tmp_path / 'images', SPEC)
    file.write(endless(), 10)
    assert file.num_images == 10
    assert (tmp_path / 'images').stat().st_size == 10 * 8 * 12 * 3


@pytest.mark.parametrize('batch', [IMAGES.transpose(0, 3, 1, 2), IMAGES[0], IMAGES / 255.0, IMAGES[..., :1]])
def test_batches_of_another_kind_are_refused_with_the_kind_that_is_needed(tmp_path, batch):
    with pytest.raises(DataError, match=r'metrics take uint8 \[N, 8, 12, 3\]'):
        ImageFile(tmp_path / 'images', SPEC).write([batch], 10)
