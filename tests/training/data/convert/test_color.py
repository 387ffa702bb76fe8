"""Color conversions: compositing, channels, bits and profiles."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.support.pictures import hwc, noise, noise_16
from training.data.convert.color import BadProfileError, over, to_bits, to_mode, to_srgb, with_alpha


@pytest.mark.parametrize(('alpha', 'expected'), [(0, [10, 20, 30]), (255, [200, 100, 50]), (51, [48, 36, 34])])
def test_alpha_weighs_the_picture_against_the_color_under_it(alpha, expected):
    pixels = np.array([[[200, 100, 50, alpha]]], np.uint8)
    assert over(pixels, (10, 20, 30)).tolist() == [[expected]]
    deep = over(to_bits(pixels, 16), (10, 20, 30))
    assert np.array_equal(to_bits(deep, 8), over(pixels, (10, 20, 30)))


def test_gray_pixels_take_the_luma_of_the_color():
    transparent = np.zeros([1, 1, 2], np.uint8)
    for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (7, 99, 201)):
        assert over(transparent, color) == np.asarray(Image.new('RGB', (1, 1), color).convert('L'))


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGB', 'RGBA'])
def test_modes_change_colors_as_pillow_does_and_keep_alpha(mode):
    pixels = hwc(noise(0, mode=mode))
    gray, color = to_mode(pixels, 'L'), to_mode(pixels, 'RGB')
    assert np.array_equal(gray[..., :1], hwc(noise(0, mode=mode).convert('L')))
    assert np.array_equal(color[..., :3], hwc(noise(0, mode=mode).convert('RGB')))
    assert (gray.shape[2], color.shape[2]) == ((2, 4) if mode.endswith('A') else (1, 3))
    if mode.endswith('A'):
        assert np.array_equal(gray[..., -1], pixels[..., -1])
        assert np.array_equal(color[..., -1], pixels[..., -1])


@pytest.mark.parametrize(('channels', 'expected'), [(1, 2), (2, 2), (3, 4), (4, 4)])
def test_a_new_alpha_channel_is_opaque_and_an_old_one_stays(channels, expected):
    pixels = noise_16(0, channels=channels)
    result = with_alpha(pixels)
    assert (result.shape[2], result.dtype) == (expected, np.uint16)
    assert np.array_equal(result[..., :channels], pixels)
    if channels != expected:
        assert (result[..., -1] == 65535).all()


def test_8_bits_survive_16_bits():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert to_bits(pixels, 8) is pixels
    assert to_bits(pixels, 16).max() == 65535
    assert np.array_equal(to_bits(to_bits(pixels, 16), 8), pixels)


def test_an_srgb_profile_changes_no_pixel_and_a_broken_one_raises():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    image = noise(0, mode='RGBA')
    assert to_srgb(image, srgb) is image
    with pytest.raises(BadProfileError):
        to_srgb(image, b'no profile')
    with pytest.raises(BadProfileError):
        to_srgb(noise(0).convert('CMYK'), srgb)
