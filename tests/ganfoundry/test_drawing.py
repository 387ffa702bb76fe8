"""Drawing: lazily, batch by batch, in the spaces that a network has, into files that hold every image."""

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.errors import ConfigError, DataError
from ganfoundry import drawing
from ganfoundry.drawing import RECORDED, batch_for, check_finite, draw_points, draw_seeds, make_outdir, save_image
from ganfoundry.points import Point


class Painter(torch.nn.Module):
    """A network whose images show their latent; it counts its calls."""

    z_dim, c_dim = 4, 2

    def __init__(self):
        super().__init__()
        self.level = torch.nn.Parameter(torch.zeros(1))
        self.calls = 0

    def forward(self, z, c, *, truncation_psi, noise_mode):
        self.calls += 1
        return (z[:, :1] * truncation_psi + c.sum(1, keepdim=True)).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)

    def synthesis(self, ws, *, noise_mode):
        self.calls += 1
        return ws.mean(dim=(1, 2)).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def point(space, latent, c=(0.0, 0.0)):
    return Point('a', {}, space, latent, torch.tensor(c), 0)


def test_images_are_drawn_when_they_are_asked_for():
    G = Painter()
    images = draw_points(G, (point('z', torch.zeros(4)) for _ in range(10**9)), batch=2)
    assert [next(images).batch for _ in range(3)] == [(0, 2), (1, 2), (0, 2)]
    assert G.calls == 2


@pytest.mark.parametrize(('bits', 'dtype', 'white'), [(8, np.uint8, 255), (16, np.uint16, 65535)])
def test_both_spaces_give_images_of_the_bits_of_the_data(bits, dtype, white):
    G = Painter()
    points = [point('z', torch.zeros(4), (1.0, 0.0)), point('w', torch.ones(3, 5))]
    from_z, from_w = (drawn.image for drawn in draw_points(G, points, bits=bits))
    assert from_z.dtype == from_w.dtype == dtype
    assert from_z.min() == from_w.min() == white


def test_images_that_are_not_finite_are_refused_by_name():
    G = Painter()
    with pytest.raises(DataError, match='a: the network draws NaN or infinity; its weights are damaged'):
        list(draw_points(G, [point('z', torch.tensor([np.nan] * 4))]))


def test_random_noise_is_drawn_one_image_at_a_time():
    assert [batch_for(mode, 8) for mode in ('const', 'none', 'random')] == [8, 8, 1]
    G = Painter()
    assert draw_seeds(G, range(5), torch.zeros(1, 2), noise_mode='random').shape == (5, 3, 2, 2)
    assert G.calls == 5


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_numbers_that_are_not_finite_are_refused(value):
    check_finite(0.7, '--trunc')
    with pytest.raises(ConfigError, match=f'--trunc={value}: expected a finite number'):
        check_finite(value, '--trunc')


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(drawing, 'save_png', fail)
    with pytest.raises(DataError, match=r'a\.png: cannot be written: No space left on device'):
        save_image(np.zeros([3, 4, 4], np.uint8), tmp_path / 'a.png', {})


def test_an_image_that_no_png_holds_is_an_array_with_a_picture(tmp_path):
    image = np.random.default_rng(0).integers(0, 65536, [6, 4, 5], np.uint16)  # [C, H, W]
    save_image(image, tmp_path / 'a.png', {'seed': 3})
    assert np.array_equal(np.load(tmp_path / 'a.npy'), image.transpose(1, 2, 0))
    with PIL.Image.open(tmp_path / 'a.png') as picture:
        assert (picture.size, picture.text['seed']) == ((5, 4), '3')


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').touch()
    assert make_outdir(str(tmp_path / 'a' / 'b')).is_dir()
    with pytest.raises(ConfigError, match=r'--outdir=.*file/a: cannot be made'):
        make_outdir(str(tmp_path / 'file' / 'a'))


def test_the_record_of_an_image_has_these_settings():
    assert RECORDED == ('truncation_psi', 'noise_mode', 'precision', 'recalibrate')
