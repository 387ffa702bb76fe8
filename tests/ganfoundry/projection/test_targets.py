"""Targets: any picture becomes what the network draws."""

from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.errors import ConfigError, DataError
from ganfoundry.projection.targets import as_batch, find_targets, fit_target, label_of, names_of, read_target
from training.interface import ImageSpec


def spec(channels=3, bits=8, base=(4, 4)):
    return ImageSpec(resolution=16, channels=channels, label_dim=0, num_images=1, base=base, bits=bits)


def picture(height, width, channels=3, dtype=np.uint8):
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, [height, width, channels])
    return values.astype(dtype)


def test_the_orientation_of_a_camera_is_applied(tmp_path):
    pixels = picture(16, 16)
    image = PIL.Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / 'a.png', exif=exif)
    found = read_target(tmp_path / 'a.png', 'a', spec(), 'crop')
    assert np.array_equal(found.pixels.transpose(1, 2, 0), np.rot90(pixels, -1))


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('given', [1, 2, 3, 4])
def test_gray_and_alpha_are_fitted_to_the_network(tmp_path, channels, given):
    pixels = picture(20, 20, given)
    PIL.Image.fromarray(pixels[..., 0] if given == 1 else pixels).save(tmp_path / 'a.png')
    assert read_target(tmp_path / 'a.png', 'a', spec(channels), 'crop').pixels.shape == (channels, 16, 16)


def test_16_bits_are_kept():
    pixels = picture(16, 16, 1, np.uint16)
    found = fit_target(pixels, 'a', 'a', spec(1, bits=16), 'crop')
    assert np.array_equal(found.pixels[0], pixels[..., 0])
    batch = as_batch([found], torch.device('cpu'))
    assert float(batch[0, 0, 3, 5]) == pytest.approx(pixels[3, 5, 0] / 32767.5 - 1)
    assert fit_target(pixels, 'a', 'a', spec(1), 'crop').pixels.dtype == np.uint8
    assert fit_target(picture(16, 16), 'a', 'a', spec(3, bits=16), 'crop').pixels.dtype == np.uint16


def test_each_fit_does_what_it_says():
    wide = np.zeros([16, 32, 3], np.uint8)
    wide[:, 8:24] = 255
    crop, pad, stretch = (fit_target(wide, 'a', 'a', spec(), how).pixels for how in ('crop', 'pad', 'stretch'))
    assert crop.min() == 255
    assert pad[:, 0].max() == 0
    assert pad[:, 8, 8].min() > 200
    assert stretch[:, 8, 0].max() < 50 < 200 < stretch[:, 8, 8].min()


def test_planes_must_be_those_of_the_network():
    assert fit_target(picture(16, 16, 6), 'a', 'a', spec(6), 'crop').pixels.shape == (6, 16, 16)
    with pytest.raises(DataError, match=r'a\.png: has 3 channels; this network draws 6'):
        fit_target(picture(16, 16), 'a', 'a.png', spec(6), 'crop')


def test_folders_hold_their_images_and_names_differ(tmp_path):
    for name in ('b.png', 'a.jpg', 'a.png', 'notes.txt'):
        (tmp_path / name).touch()
    files = find_targets((str(tmp_path), str(tmp_path / 'b.png')))
    assert [path.name for path in files] == ['a.jpg', 'a.png', 'b.png', 'b.png']
    assert names_of(files) == ['a', 'a-2', 'b', 'b-2']
    (tmp_path / 'empty').mkdir()
    for path, message in (('nowhere.png', 'no such file or folder'), ('empty', 'a folder without images')):
        with pytest.raises(ConfigError, match=message):
            find_targets((str(tmp_path / path),))


def test_auto_means_no_label_yet_for_a_conditional_network_only():
    network = SimpleNamespace(spec=SimpleNamespace(label_dim=3), class_names=())
    assert label_of('auto', network) is None
    assert label_of('1', network).tolist() == [[0, 1, 0]]
    with pytest.raises(ConfigError, match='--class is needed'):
        label_of(None, network)
    with pytest.raises(ConfigError, match='this network is unconditional'):
        label_of('auto', SimpleNamespace(spec=SimpleNamespace(label_dim=0), class_names=()))
