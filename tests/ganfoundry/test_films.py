"""Videos: sizes, rates, exact frames, equal bytes, and a playable file after Ctrl-C."""

import imageio.v3 as iio
import numpy as np
import pytest

from dnnlib.errors import ConfigError
from dnnlib.signals import StopRequested
from ganfoundry.films import CODECS, Film, codec_of, even_size

av = pytest.importorskip('av', reason='needs PyAV: pip install "ganfoundry[video]"')
ODD = (33, 47)


def frames(num_frames: int = 6, size: tuple[int, int] = ODD, channels: int = 3) -> np.ndarray:
    """Returns smooth moving colors, uint8 [num_frames, H, W, C]."""
    y, x = np.mgrid[: size[0], : size[1]] / 10
    levels = [[np.sin(x + y * c + t / 5) for c in range(channels)] for t in range(num_frames)]
    return (np.array(levels).transpose(0, 2, 3, 1) * 100 + 128).astype(np.uint8)


def write(path, pictures, **options):
    with Film(path, fps=12, **options) as film:
        for picture in pictures:
            film.add(picture)
    return film


@pytest.mark.parametrize('ending', CODECS)
def test_count_size_rate_and_comment_are_as_asked(tmp_path, ending):
    path = tmp_path / f'a{ending}'
    assert write(path, frames(size=(32, 48)), comment='{"seed": 3}').num_frames == 6
    assert iio.imread(path, plugin='pyav').shape == (6, 32, 48, 3)
    with av.open(str(path)) as file:
        assert file.streams.video[0].average_rate == 12
        assert {key.lower(): value for key, value in file.metadata.items()}['comment'] == '{"seed": 3}'
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('ending', CODECS)
def test_the_same_frames_give_the_same_bytes(tmp_path, ending):
    for name in 'ab':
        write(tmp_path / f'{name}{ending}', frames(), comment='x')
    assert (tmp_path / f'a{ending}').read_bytes() == (tmp_path / f'b{ending}').read_bytes()


@pytest.mark.parametrize('channels', [1, 3])
def test_ffv1_holds_exactly_the_pixels_of_odd_frames(tmp_path, channels):
    pictures, notes = frames(channels=channels), []
    write(tmp_path / 'a.mkv', pictures, note=notes.append)
    assert np.array_equal(iio.imread(tmp_path / 'a.mkv', plugin='pyav'), np.broadcast_to(pictures, (6, *ODD, 3)))
    assert notes == []


@pytest.mark.parametrize('ending', ['.mp4', '.webm'])
def test_odd_sizes_repeat_an_edge_and_one_line_says_so(tmp_path, ending):
    notes = []
    write(tmp_path / f'a{ending}', frames(), note=notes.append)
    assert notes == [f'{tmp_path}/a{ending}: yuv420p needs even sizes; an edge is repeated, 47x33 becomes 48x34']
    stored = iio.imread(tmp_path / f'a{ending}', plugin='pyav').astype(float)
    assert stored.shape == (6, 34, 48, 3)
    error = stored - np.stack([even_size(frame) for frame in frames()])
    assert 10 * np.log10(255**2 / np.square(error).mean()) > 32


def test_an_edge_is_repeated_where_a_size_is_odd():
    frame = frames()[0]
    padded = even_size(frame)
    assert np.array_equal(padded[33], padded[32])
    assert np.array_equal(padded[:33, :47], frame)
    assert np.array_equal(even_size(padded), padded)


def interrupted(error: type[BaseException]):
    """Yields two frames, then raises."""
    yield from frames(2, size=(32, 48))
    raise error


@pytest.mark.parametrize('stop', [KeyboardInterrupt, StopRequested])
def test_after_ctrl_c_the_frames_so_far_can_be_played(tmp_path, stop):
    with pytest.raises(stop):
        write(tmp_path / 'a.mp4', interrupted(stop))
    assert len(iio.imread(tmp_path / 'a.mp4', plugin='pyav')) == 2


def test_after_an_error_there_is_no_file(tmp_path):
    with pytest.raises(RuntimeError):
        write(tmp_path / 'a.mp4', interrupted(RuntimeError))
    write(tmp_path / 'b.mp4', [])  # no frame, no file
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r'a\.avi: a video ends in \.mp4, \.webm, \.mkv'):
        Film(tmp_path / 'a.avi', fps=10)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "ganfoundry\[video\]"'):
        codec_of(tmp_path / 'a.mp4')
