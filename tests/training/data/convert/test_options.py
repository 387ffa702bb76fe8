"""Options of a conversion that do not fit each other are errors that name them."""

import pytest

from dnnlib.errors import ConfigError
from training.data.convert.options import ConvertOptions, PictureOptions, possible_size
from training.data.shapes import split_size


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'bits': 12}, '--bits=12: must be 8 or 16'),
        ({'transform': 'pad'}, '--transform=pad needs --resolution=WxH'),
        ({'pad_color': (0, 0, 0)}, '--pad-colour is the color around pictures'),
        (
            {'size': (1000, 1000)},
            '--resolution=1000x1000: networks cannot be built for 1000x1000; the nearest size is 960x960',
        ),
        ({'size': (64, 32), 'transform': 'center-crop-wide'}, '32x64 is not wide; swap width and height'),
        ({'size': (64, 1000), 'transform': 'center-crop-wide'}, 'which makes squares: networks cannot be built'),
    ],
)
def test_options_of_pictures_that_do_not_fit_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        PictureOptions(**options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'source': ''}, '--source is empty'),
        ({'dest': ''}, '--dest is empty'),
        ({'max_images': 0}, '--max-images=0: must be at least 1'),
        ({'num_workers': 0}, '--workers=0: must be at least 1'),
        ({'shuffle_seed': 1}, '--shuffle-seed chooses which --max-images'),
        ({'shuffle_seed': -1, 'max_images': 5}, '--shuffle-seed=-1: must be from 0 to 4294967295'),
    ],
)
def test_options_of_a_conversion_that_do_not_fit_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        ConvertOptions(**{'source': 'a', 'dest': 'b.zip', **options})


def test_wide_crops_are_written_as_squares():
    assert PictureOptions(size=(32, 64), transform='center-crop-wide').written_size == (64, 64)
    assert PictureOptions(size=(32, 64), transform='center-crop').written_size == (32, 64)
    assert PictureOptions().written_size is None


def test_a_proposed_size_is_one_that_can_be_trained_on():
    width, height = map(int, possible_size(1080, 1920).split('x'))
    assert split_size(height, width) is not None
    assert (width, height) == (1920, 1024)
