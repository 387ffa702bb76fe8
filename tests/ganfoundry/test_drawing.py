"""Drawing: lazily, batch by batch, in the spaces that a network has, into files that hold every image."""

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.drawing import (
    RECORDED,
    batch_for,
    draw_batches,
    draw_seeds,
    label_of,
    make_outdir,
    parse_grid,
    save_image,
)
from ganfoundry.latent_options import Batch


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


def test_images_are_drawn_when_they_are_asked_for():
    G = Painter()
    batches = (Batch(i, 'z', torch.zeros(2, 4), torch.zeros(1, 2)) for i in range(1000))
    images = draw_batches(G, batches)
    assert next(images).shape == (2, 3, 2, 2)
    assert G.calls == 1


@pytest.mark.parametrize(('bits', 'dtype', 'white'), [(8, np.uint8, 255), (16, np.uint16, 65535)])
def test_both_spaces_give_images_of_the_bits_of_the_data(bits, dtype, white):
    G = Painter()
    c = torch.tensor([[1.0, 0.0]])
    (from_z,) = draw_batches(G, [Batch(0, 'z', torch.zeros(1, 4), c)], bits=bits)
    (from_w,) = draw_batches(G, [Batch(0, 'w', torch.ones(1, 3, 5), c)], bits=bits)
    assert from_z.dtype == from_w.dtype == dtype
    assert from_z.min() == from_w.min() == white


def test_random_noise_is_drawn_one_image_at_a_time():
    assert [batch_for(mode, 8) for mode in ('const', 'none', 'random')] == [8, 8, 1]
    G = Painter()
    assert draw_seeds(G, range(5), torch.zeros(1, 2), noise_mode='random').shape == (5, 3, 2, 2)
    assert G.calls == 5


def test_a_class_of_an_unconditional_network_is_noted(capsys):
    G = Painter()
    G.c_dim = 0
    assert label_of(G, 3).shape == (1, 0)
    assert capsys.readouterr().err == 'note: --class=3 is ignored, this network is unconditional\n'


def test_a_grid_has_columns_and_rows():
    assert parse_grid('8x4') == (8, 4)
    for text in ('8', '0x4', '8x', 'x', '8x4x2', '10000x1'):
        with pytest.raises(ConfigError, match=f'--grid={text}: expected COLUMNSxROWS'):
            parse_grid(text)


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
    assert RECORDED == ('truncation_psi', 'class_idx', 'noise_mode', 'precision', 'recalibrate')
