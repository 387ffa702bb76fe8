"""Crops, resizes and padding; transparency over a color; gray, RGB, 8 and 16 bits."""

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import hwc, noise, noise_16
from training.data.convert.color import over, to_bits, to_mode, with_alpha
from training.data.convert.geometry import fit, resize

FILTERS = ('lanczos', 'bicubic', 'box')


def fitted(pixels, size, transform, *, has_alpha=False, canvas=None):
    canvas = canvas or [0] * pixels.shape[2]
    return fit(pixels, size, transform, 'lanczos', has_alpha=has_alpha, canvas=canvas)


def means(pixels: np.ndarray, block: int) -> np.ndarray:
    """Returns the means of blocks of block x block pixels, in float64."""
    height, width, channels = pixels.shape
    return pixels.reshape(height // block, block, width // block, block, channels).mean(axis=(1, 3), dtype=np.float64)


@pytest.mark.parametrize('mode', ['L', 'RGB'])
@pytest.mark.parametrize('name', FILTERS)
def test_8_bit_pictures_are_resized_as_pillow_does(mode, name):
    image = noise(0, 32, 24, mode)
    expected = hwc(image.resize((12, 8), Image.Resampling[name.upper()]))
    assert np.array_equal(resize(hwc(image), (8, 12), name), expected)


@pytest.mark.parametrize('channels', [1, 3, 4, 7])
@pytest.mark.parametrize('name', FILTERS)
def test_16_bits_are_resized_in_16_bits(channels, name):
    """Smooth in 16 bits: an 8-bit path would leave at most 256 levels, 257 apart."""
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64, 1).repeat(channels, 2).astype(np.uint16)
    small = resize(ramp, (32, 32), name)
    assert small.dtype == np.uint16
    assert len(np.unique(small)) == 32 * 32
    if name == 'box':
        assert np.abs(small - means(ramp, 2)).max() <= 0.75


def test_box_is_the_mean_and_lanczos_differs_from_it():
    image = hwc(noise(0, 32, 32))
    assert np.abs(resize(image, (8, 8), 'box') - means(image, 4)).max() <= 1
    difference = np.abs(resize(image, (8, 8), 'lanczos').astype(float) - resize(image, (8, 8), 'box'))
    assert 0 < difference.mean() < 20


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_what_is_transparent_does_not_bleed(dtype):
    """Half of each block is opaque red, half is fully transparent green: the result is red, and half there."""
    largest = np.iinfo(dtype).max
    pixels = np.zeros([32, 32, 4], dtype)
    pixels[:, ::2] = (largest, 0, 0, largest)
    pixels[:, 1::2] = (0, largest, 0, 0)
    small = resize(pixels, (16, 16), 'box', has_alpha=True)
    assert np.array_equal(np.unique(small[..., :3].reshape(-1, 3), axis=0), [[largest, 0, 0]])
    assert np.abs(small[..., 3].astype(int) - largest / 2).max() <= 1
    assert resize(pixels, (16, 16), 'box', has_alpha=False)[..., 1].max() > largest // 4  # planes are mixed


def test_transparent_pictures_stay_finite_and_grey_alpha_works():
    empty = np.zeros([16, 16, 2], np.uint8)
    assert not resize(empty, (8, 8), 'lanczos', has_alpha=True).any()
    opaque = with_alpha(hwc(noise(0, mode='L')))
    small = resize(opaque, (8, 8), 'lanczos', has_alpha=True)
    assert (small[..., 1] == 255).all()
    assert np.abs(small[..., :1].astype(int) - resize(opaque[..., :1], (8, 8), 'lanczos')).max() <= 1


@pytest.mark.parametrize(('width', 'height'), [(40, 20), (20, 40), (31, 17), (24, 16)])
@pytest.mark.parametrize('size', [(16, 16), (16, 24), (24, 16)])
def test_center_crop_is_the_largest_centred_rectangle_of_that_aspect(width, height, size):
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.uint8)  # x, y
    pixels = np.concatenate([pixels, pixels[..., :1]], axis=2)
    scale = min(height / size[0], width / size[1])
    crop = fitted(pixels, size, 'center-crop').pixels
    assert crop.shape == (*size, 3)
    # The middle of the cut is the middle of the picture, and a step is `scale` of its pixels.
    assert np.abs(crop[..., 0].mean() - (width - 1) / 2) <= 0.75
    assert np.abs(crop[..., 1].mean() - (height - 1) / 2) <= 0.75
    steps = np.diff(crop[size[0] // 2, 2:-2, 0].astype(float)).mean(), np.diff(crop[2:-2, 4, 1].astype(float)).mean()
    assert np.allclose(steps, scale, atol=0.12)


def test_a_cut_that_fits_keeps_pixels():
    image = hwc(noise(0, 24, 16))
    assert np.array_equal(fitted(image, (16, 16), 'center-crop').pixels, image[:, 4:20])
    assert np.array_equal(fitted(image, (16, 24), None).pixels, image)


@pytest.mark.parametrize('transform', [None, 'resize'])
def test_resize_takes_each_side_by_itself(transform):
    image = noise(0, 40, 16)
    expected = hwc(image.resize((16, 16), Image.Resampling.LANCZOS))
    assert np.array_equal(fitted(hwc(image), (16, 16), transform).pixels, expected)


def test_pad_keeps_all_and_adds_the_colour_exactly():
    image = noise(0, 32, 16)
    padded = fitted(hwc(image), (16, 16), 'pad', canvas=[9, 8, 7])
    assert np.array_equal(padded.pixels[4:12], hwc(image.resize((16, 8), Image.Resampling.LANCZOS)))
    for rows in (slice(0, 4), slice(12, 16)):
        assert (padded.pixels[rows] == (9, 8, 7)).all()
    upright = fitted(hwc(noise(0, 16, 32)), (16, 16), 'pad').pixels
    assert not upright[:, :4].any()
    assert not upright[:, 12:].any()


def test_center_crop_wide_is_letterboxed_and_never_enlarges():
    image = noise(0, 48, 18)
    wide = fitted(hwc(image), (8, 16), 'center-crop-wide').pixels
    cut = hwc(image.crop((6, 0, 42, 18)).resize((16, 8), Image.Resampling.LANCZOS))
    assert wide.shape == (16, 16, 3)
    assert np.array_equal(wide[4:12], cut)
    assert not wide[:4].any()
    assert not wide[12:].any()
    assert fitted(hwc(noise(0, 15, 30)), (8, 16), 'center-crop-wide') is None
    assert fitted(hwc(noise(0, 30, 7)), (8, 16), 'center-crop-wide') is None


@pytest.mark.parametrize(
    ('width', 'height', 'transform', 'enlarged'),
    [
        (16, 16, None, False), (15, 40, None, True), (40, 15, 'center-crop', True), (40, 16, 'center-crop', False),
        (40, 8, 'pad', False), (12, 8, 'pad', True),
    ],
)  # fmt: skip
def test_enlarging_is_known(width, height, transform, enlarged):
    assert fitted(hwc(noise(0, width, height)), (16, 16), transform).enlarged == enlarged


# --- colours -----------------------------------------------------------------


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [2, 4])
def test_over_is_the_rounded_mean_of_picture_and_colour(dtype, channels):
    largest = np.iinfo(dtype).max
    pixels = np.random.RandomState(0).randint(0, largest + 1, [16, 16, channels]).astype(dtype)
    pixels[0, 0, -1], pixels[0, 1, -1] = 0, largest
    color = (10, 20, 30) if channels == 4 else (20, 20, 20)
    alpha = pixels[..., -1:] / largest
    ground = np.array(color[: channels - 1]) * (largest / 255)
    expected = pixels[..., :-1] * alpha + ground * (1 - alpha)
    assert np.abs(over(pixels, color) - expected).max() <= 0.5 + 1e-6
    assert np.array_equal(over(pixels, color)[0, 1], pixels[0, 1, :-1])


def test_modes_are_pillows_and_carry_alpha():
    rgba = noise(0, mode='RGBA')
    expected = hwc(rgba.convert('LA'))
    assert np.array_equal(to_mode(hwc(rgba), 'L'), expected)
    assert np.array_equal(to_mode(hwc(rgba)[..., :3], 'L'), expected[..., :1])
    back = to_mode(expected, 'RGB')
    assert np.array_equal(back, expected[..., [0, 0, 0, 1]])
    assert np.array_equal(to_mode(back, 'RGB'), back)
    assert np.array_equal(with_alpha(hwc(rgba)[..., :3])[..., 3], np.full([16, 16], 255))
    assert with_alpha(hwc(rgba)) is not None


def test_bits_are_rounded_and_come_back():
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert np.array_equal(to_bits(every, 8), np.round(every.astype(np.float64) * 255 / 65535).astype(np.uint8))
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert to_bits(levels, 16).max() == 65535
    assert np.array_equal(to_bits(to_bits(levels, 16), 8), levels)
    assert to_mode(noise_16(0), 'L').dtype == np.uint16
