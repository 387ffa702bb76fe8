"""Conversion of one picture: its outcome, its channels, and the format of its file."""

import io

import numpy as np
import pytest
from PIL import Image

from dnnlib.errors import ConfigError, DataError
from tests.support.pictures import encoded, hwc, noise, noise_16, npy
from training.data.convert.options import PictureOptions
from training.data.convert.picture import Outcome, PictureJob, convert_picture, encode


def convert(payload: object, mode: str = 'RGB', is_guess: bool = False, **options: object) -> Outcome:
    """Converts one picture.

    Args:
        payload: File, pixels or error.
        mode: Mode of all pictures.
        is_guess: Whether color refutes the mode.
        options: Fields of `PictureOptions`.
    """
    job = PictureJob(where='a.png', payload=payload, mode=mode, mode_is_a_guess=is_guess)
    return convert_picture(PictureOptions(**options), job)


def test_a_picture_of_the_right_size_and_mode_keeps_its_pixels():
    outcome = convert(encoded(noise(0)))
    assert (outcome.extension, outcome.shape, outcome.bad, outcome.enlarged) == ('.png', (16, 16, 3), '', False)
    assert np.array_equal(hwc(Image.open(io.BytesIO(outcome.data))), hwc(noise(0)))
    assert convert(hwc(noise(0))).data == outcome.data


def test_what_cannot_be_read_is_an_outcome():
    assert convert(DataError('a.png: is missing')).bad == 'a.png: is missing'
    assert convert(b'no image').bad.startswith('a.png: is not a PNG')


def test_color_refutes_a_guess_of_gray_and_only_a_guess():
    assert convert(encoded(noise(0)), 'L', True).met_color
    assert convert(encoded(noise(0)), 'L').shape == (16, 16, 1)
    assert convert(encoded(noise(0, mode='L')), 'L', True).shape == (16, 16, 1)
    transparent = encoded(noise(0, mode='LA'))
    assert not convert(transparent, 'L', True).met_color
    assert convert(transparent, 'L', True, alpha=(255, 0, 0)).met_color


def test_small_pictures_are_left_out_or_reported_as_enlarged():
    data = encoded(noise(0))
    assert convert(data, size=(32, 32)).enlarged
    assert convert(data, size=(16, 32), transform='center-crop-wide').is_too_small
    with pytest.raises(ConfigError, match=r'a\.png: is 18x9, a size that networks cannot be built for'):
        convert(encoded(noise(0, 18, 9)))


@pytest.mark.parametrize(
    ('pixels', 'as_planes', 'extension'),
    [
        (hwc(noise(0, mode='LA')), False, '.png'),
        (hwc(noise(0, mode='RGBA')), False, '.png'),
        (noise_16(0, channels=1), False, '.png'),
        (noise_16(0, channels=3), False, '.npy'),
        (hwc(noise(0)), True, '.npy'),
        (noise_16(0, channels=6), True, '.npy'),
    ],
)
def test_a_file_holds_the_pixels_in_the_format_of_their_kind(pixels, as_planes, extension):
    data, found = encode(pixels, as_planes=as_planes)
    assert found == extension
    stored = np.load(io.BytesIO(data)) if extension == '.npy' else hwc(Image.open(io.BytesIO(data)))
    assert np.array_equal(stored, pixels)


def test_planes_have_no_colors_to_convert_or_to_pad_with():
    planes = npy(noise_16(0, channels=6))
    assert convert(planes, bits=16).shape == (16, 16, 6)
    with pytest.raises(ConfigError, match='has 6 planes, which --mode=RGB cannot turn into colors'):
        convert_picture(PictureOptions(mode='RGB'), PictureJob(where='a.npy', payload=planes, mode='RGB'))
    with pytest.raises(ConfigError, match='has 6 planes; --pad-colour is for pictures'):
        convert(planes, size=(32, 32), transform='pad', pad_color=(1, 2, 3))
