"""GIF, WebP and frame folders: what is read back is what was written, in constant memory, and after Ctrl-C too."""

import json

import numpy as np
import PIL.Image
import PIL.ImageSequence
import pytest

from dnnlib.errors import ConfigError
from ganfoundry.animations import FrameFolder, Gif, WebP


def frames_of(count: int, channels: int = 3, height: int = 11, width: int = 14) -> list[np.ndarray]:
    draw = np.random.RandomState(5)
    return [draw.randint(0, 256, [height, width, channels]).astype(np.uint8) for _ in range(count)]


def read_back(path):
    with PIL.Image.open(path) as film:
        return [np.asarray(page.convert('RGB')) for page in PIL.ImageSequence.Iterator(film)], film.info


@pytest.mark.parametrize('channels', [1, 3])
def test_webp_is_lossless(channels, tmp_path):
    frames = frames_of(5, channels)
    with WebP(tmp_path / 'a.webp', fps=20) as film:
        for frame in frames:
            film.add(frame)
    found, info = read_back(tmp_path / 'a.webp')
    assert info['loop'] == 0
    assert len(found) == 5
    for a, b in zip(found, frames, strict=True):
        np.testing.assert_array_equal(a, np.broadcast_to(b, a.shape))


@pytest.mark.parametrize('colors', [1, 2, 3, 17, 256])
def test_gif_is_exact_up_to_256_colors(colors, tmp_path):
    palette = np.random.RandomState(1).randint(0, 256, [colors, 3]).astype(np.uint8)
    frames = [palette[np.random.RandomState(i).randint(0, colors, [21, 18])] for i in range(3)]
    with Gif(tmp_path / 'a.gif', fps=25) as film:
        for frame in frames:
            film.add(frame)
    found, info = read_back(tmp_path / 'a.gif')
    assert info['loop'] == 0
    for a, b in zip(found, frames, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(('kind', 'fps'), [(Gif, 30), (Gif, 24), (WebP, 60), (WebP, 30)])
def test_delays_add_up_to_the_length_of_the_film(kind, fps, tmp_path):
    with kind(tmp_path / 'film', fps=fps) as film:
        for frame in frames_of(2 * fps):
            film.add(frame)
    with PIL.Image.open(tmp_path / 'film') as opened:
        total = 0
        for index in range(2 * fps):
            opened.seek(index)
            opened.load()  # a WebP states the duration of a frame after its pixels
            total += opened.info['duration']
    assert total == pytest.approx(2000, abs=1)


def test_a_gif_that_is_too_fast_for_its_format_says_so(tmp_path):
    notes: list[str] = []
    with Gif(tmp_path / 'a.gif', fps=60, note=notes.append) as film:
        film.add(frames_of(1)[0])
    assert notes == [f'{tmp_path / "a.gif"}: a GIF shows at most 50 frames per second, not 60']


def write_until(error: type[BaseException], film: Gif | WebP) -> None:
    """Writes three frames, then raises the error."""
    with film:
        for frame in frames_of(3):
            film.add(frame)
        raise error


@pytest.mark.parametrize('kind', [Gif, WebP])
def test_an_interrupted_animation_can_be_played(kind, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_until(KeyboardInterrupt, kind(tmp_path / 'film', fps=10))
    assert len(read_back(tmp_path / 'film')[0]) == 3


@pytest.mark.parametrize('kind', [Gif, WebP])
def test_an_error_leaves_no_animation(kind, tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_until(ZeroDivisionError, kind(tmp_path / 'film', fps=10))
    assert list(tmp_path.iterdir()) == []


def test_the_comment_lies_next_to_the_film(tmp_path):
    with Gif(tmp_path / 'a.gif', fps=10, comment='{"seeds": "0-3"}') as film:
        film.add(frames_of(1)[0])
    assert json.loads((tmp_path / 'a.gif.json').read_text()) == {'seeds': '0-3'}


def test_frames_are_lossless_pngs_with_their_rate(tmp_path):
    frames = frames_of(3)
    with FrameFolder(tmp_path / 'frames', fps=12, comment='{"seeds": "0-3"}') as film:
        for frame in frames:
            film.add(frame)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(tmp_path / f'frames/frame{index:06d}.png')), frame)
    assert json.loads((tmp_path / 'frames/frames.json').read_text()) == {'fps': 12, 'seeds': '0-3'}


def test_frames_never_mix_with_those_of_another_film(tmp_path):
    (tmp_path / 'frame000000.png').write_text('')
    with pytest.raises(ConfigError, match='new or an empty folder'):
        FrameFolder(tmp_path, fps=12)
