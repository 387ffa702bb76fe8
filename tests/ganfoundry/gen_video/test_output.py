"""Frames as pixels, and the format that each ending asks for."""

import numpy as np
import pytest

from dnnlib.errors import ConfigError
from ganfoundry.animations import FrameFolder, Gif, WebP
from ganfoundry.films import Film
from ganfoundry.gen_video.output import check_background, frame_of, open_film


@pytest.mark.parametrize(
    ('name', 'kind'),
    [('a.mp4', Film), ('a.WEBM', Film), ('a.mkv', Film), ('a.gif', Gif), ('a.webp', WebP), ('frames', FrameFolder)],
)
def test_the_ending_decides_the_format(name, kind, tmp_path):
    assert isinstance(open_film(tmp_path / name, fps=30, crf=17, comment='{}'), kind)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_ending_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r'a\.avi: unknown ending; choose one of \.mp4, .*\.gif, .*folder of PNGs'):
        open_film(tmp_path / 'a.avi', fps=30, crf=17, comment='{}')


def test_cells_fill_the_grid_row_by_row_and_pixels_are_repeated():
    images = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1) + 1  # [3, 1, 1, 1]
    frame = frame_of(images, 2, upscale=2)
    assert frame[..., 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 0, 0], [3, 3, 0, 0]]


def test_transparent_images_lie_on_the_background():
    image = np.zeros([1, 4, 16, 16], np.uint8)
    image[:, 0] = 200
    image[:, 3, :, 8:] = 255
    on_color = frame_of(image, 1, background='#0a141e')
    assert on_color[0, 0].tolist() == [10, 20, 30]
    assert on_color[0, 15].tolist() == [200, 0, 0]
    on_checker = frame_of(image, 1)
    assert (on_checker[0, 0].tolist(), on_checker[8, 0].tolist()) == ([153] * 3, [102] * 3)


@pytest.mark.parametrize(('channels', 'shown'), [(1, 1), (2, 3), (3, 3), (4, 3), (6, 3)])
def test_images_of_any_channels_and_16_bits_are_shown(channels, shown):
    images = np.full([2, channels, 4, 6], 65535, np.uint16)
    frame = frame_of(images, 2)
    assert frame.shape == (4, 12, shown)
    assert frame.dtype == np.uint8
    assert frame.min() == 255


@pytest.mark.parametrize('text', ['white', '#fff', '#gggggg', ''])
def test_a_background_is_a_checkerboard_or_a_color(text):
    with pytest.raises(ConfigError, match='--background='):
        check_background(text)
