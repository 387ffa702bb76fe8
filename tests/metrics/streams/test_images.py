"""Streams of images: their checks, and their conversion to RGB."""

import numpy as np
import pytest
import torch

from dnnlib.errors import DataError
from metrics.streams.images import as_images, checked, to_rgb


def noise(shape: tuple[int, ...], bits: int = 8) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 2**bits, shape).astype(f'u{bits // 8}')


def test_grey_is_tiled_and_rgb_left_alone():
    images = torch.from_numpy(noise((2, 3, 4, 5)))
    assert torch.equal(to_rgb(images), images)
    assert torch.equal(to_rgb(images[:, :1]), images[:, :1].repeat(1, 3, 1, 1))


@pytest.mark.parametrize('channels', [2, 4])
def test_alpha_lays_the_picture_over_white_to_the_nearest_number(channels):
    values = torch.arange(256)
    color, alpha = torch.meshgrid(values, values, indexing='ij')
    planes = [color, color.flip(0), 255 - color][: channels - 1]
    images = torch.stack([*planes, alpha]).to(torch.uint8)[None]  # [1, C, 256, 256]
    seen = to_rgb(images)
    a = alpha.double() / 255
    expected = torch.stack([(plane * a + 255 * (1 - a)).round() for plane in planes]).expand(3, -1, -1)
    assert seen.dtype == torch.uint8
    assert torch.equal(seen[0].double(), expected)


def test_opaque_pixels_are_the_colour_and_clear_ones_white():
    images = torch.from_numpy(noise((2, 4, 4, 5)))
    images[0, 3], images[1, 3] = 255, 0
    seen = to_rgb(images)
    assert torch.equal(seen[0], images[0, :3])
    assert (seen[1] == 255).all()


def test_of_more_planes_metrics_see_the_first_three():
    images = torch.from_numpy(noise((2, 6, 4, 5)))
    assert torch.equal(to_rgb(images), images[:, :3])


def test_images_are_uint8_with_channels():
    with pytest.raises(DataError, match='this batch is uint16'):
        as_images(noise((2, 3, 4, 5), 16))
    with pytest.raises(DataError, match=r'this batch has the shape \[3, 4, 5\]'):
        as_images(noise((3, 4, 5)))
    assert as_images(noise((2, 6, 4, 5))).shape == (2, 6, 4, 5)


def test_images_of_two_shapes_are_refused():
    batches = [np.zeros((2, 3, 4, 4), np.uint8), np.zeros((2, 1, 4, 4), np.uint8)]
    with pytest.raises(DataError, match=r'\[1, 4, 4\] follow images of \[3, 4, 4\]'):
        list(checked(batches, [range(2), range(2, 4)], 'test'))


@pytest.mark.parametrize('sizes', [[4], [4, 3], [4, 0]])
def test_a_stream_that_ends_early_is_refused_by_name(sizes):
    batches = [np.zeros((size, 3, 4, 4), np.uint8) for size in sizes]
    with pytest.raises(DataError, match=f'the test ended after {sum(sizes)} images'):
        list(checked(batches, [range(4), range(4, 8)], 'the test'))


def test_read_only_arrays_are_read():
    frozen = noise((4, 3, 4, 4)).copy()
    frozen.flags.writeable = False
    (batch,) = checked([frozen], [range(4)], 'test')
    assert torch.equal(batch, torch.from_numpy(noise((4, 3, 4, 4))))
