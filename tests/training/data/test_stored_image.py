"""Stored images of every kind: their pixels, averages and bits."""

import numpy as np
import pytest
from PIL import Image

from tests.support.stored import KINDS, make_set, noise
from training.data.dataset import DataConfig, ImageDataset
from training.data.shapes import split_size
from training.data.stored_image import box_mean, to_8_bits
from training.interface import ImageSpec


@pytest.mark.parametrize(('shape', 'bits', 'kind'), KINDS)
def test_every_kind_comes_back_as_it_was_stored(tmp_path, shape, bits, kind):
    dataset = ImageDataset(DataConfig(path=make_set(tmp_path / 'a.zip', shape, bits, kind), mirror=True))
    resolution, base = split_size(*shape[1:])
    assert dataset.spec == ImageSpec(
        resolution=resolution, channels=shape[0], label_dim=0, num_images=6, base=base, bits=bits
    )
    for i in range(3):
        image = dataset.image(i)
        assert image.dtype == f'uint{bits}'
        assert np.array_equal(image, noise(i, shape, bits))
        assert np.array_equal(dataset.image(i + 3), image[:, :, ::-1])
        assert dataset.image(i + 3).flags.c_contiguous
    (batch,) = dataset.parts([range(3)])
    assert batch.dtype == np.uint8
    expected = np.stack([noise(i, shape, bits) for i in range(3)])
    assert np.array_equal(batch, expected if bits == 8 else np.round(expected * (255 / 65535)))


@pytest.mark.parametrize(('shape', 'bits', 'kind'), KINDS)
def test_a_lower_resolution_keeps_the_base_and_averages_each_channel(tmp_path, shape, bits, kind):
    shape = (shape[0], 2 * shape[1], 2 * shape[2])
    path = make_set(tmp_path / 'a.zip', shape, bits, kind)
    stored = ImageDataset(DataConfig(path=path)).spec
    dataset = ImageDataset(DataConfig(path=path, resolution=stored.resolution // 2))
    assert (dataset.spec.base, dataset.spec.bits) == (stored.base, bits)
    c, h, w = shape
    blocks = noise(1, shape, bits).reshape(c, h // 2, 2, w // 2, 2)
    expected = np.floor(blocks.mean(axis=(2, 4)) + 0.5)
    assert np.array_equal(dataset.image(1), expected)
    assert dataset.image(1).shape == (c, dataset.spec.height, dataset.spec.width)


@pytest.mark.parametrize('factor', [2, 4, 16, 32])
def test_pillow_averages_the_same_numbers(factor):
    pixels = noise(0, (3, 64, 96), 8)
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    assert np.array_equal(np.asarray(image.reduce(factor)).transpose(2, 0, 1), box_mean(pixels, factor))


def test_averages_of_bright_16_bit_blocks_do_not_overflow():
    assert (box_mean(np.full([1, 512, 512], 65535, np.uint16), 256) == 65535).all()


def test_8_bits_of_16_are_the_nearest():
    values = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_8_bits(values), np.round(values * (255 / 65535)))
