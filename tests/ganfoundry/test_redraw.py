"""Records in pictures: damaged ones are named, those of version 0.1 are read, those of other networks are refused."""

import json

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError, FileError
from ganfoundry.redraw import point_of, read_picture
from torch_utils.images import save_png

INFO = {'network': 'net.safetensors', 'network_sha256': 'aa', 'seed': 3}


class Plain:
    """A generator without a W space, with 2 classes."""

    z_dim, c_dim = 3, 2


def write(path, **text):
    save_png(np.zeros([3, 4, 8], np.uint8), path, {**INFO, **text})
    return path


def test_a_picture_of_version_0_1_is_read(tmp_path):
    text = {'truncation_psi': 0.7, 'class_idx': 1, 'noise_mode': 'none', 'precision': 'auto', 'recalibrate': True}
    picture = read_picture(write(tmp_path / 'a.png', nimg=1000, **text))
    settings = picture.settings
    assert (settings.truncation_psi, settings.noise_mode, settings.recalibrate, settings.batch) == (
        0.7,
        'none',
        True,
        1,
    )
    assert (picture.precision, picture.position, picture.columns) == ('auto', 0, None)
    point = point_of(picture.origins[0], 'a', Plain(), (), 'a.png')
    assert (point.origin['seed'], point.c.tolist()) == (3, [0, 1])


def test_a_sheet_of_version_0_1_has_its_seeds(tmp_path):
    picture = read_picture(write(tmp_path / 'a.png', seeds=[4, 5], class_idx=0))
    assert [origin['seed'] for origin in picture.origins] == [4, 5]
    assert picture.width == 8


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ({'truncation_psi': 'far'}, 'its text \'truncation_psi\' is damaged: "far"'),
        ({'truncation_psi': 'NaN'}, "its text 'truncation_psi' is damaged"),
        ({'noise_mode': 'loud'}, "its text 'noise_mode' is damaged"),
        ({'precision': 'half'}, "its text 'precision' is damaged"),
        ({'recalibrate': 1}, "its text 'recalibrate' is damaged"),
        ({'batch': [2, 2]}, "its text 'batch' is damaged"),
        ({'batch': [0, 10**9]}, "its text 'batch' is damaged"),
        ({'columns': 0}, "its text 'columns' is damaged"),
        ({'points': []}, "its text 'points' is damaged"),
        ({'points': [3]}, "its text 'points' is damaged"),
        ({'seeds': ['a']}, "its text 'seeds' is damaged"),
        ({'styles': [-1], 'row_points': [{}], 'col_points': [{}]}, "its text 'styles' is damaged"),
        ({'styles': [1]}, "its text 'row_points' is damaged"),
        ({'projected_w': 'me.npz'}, 'names a file of latents and does not hold them; draw with --latents'),
    ],
)
def test_a_damaged_record_is_named(tmp_path, text, message):
    with pytest.raises(ConfigError, match=rf'--from=.*a\.png: {message}'.replace('"', '.')):
        read_picture(write(tmp_path / 'a.png', **text))


def test_what_is_no_picture_of_this_project_is_named(tmp_path):
    save_png(np.zeros([3, 4, 8], np.uint8), tmp_path / 'a.png', {'Title': 'me'})
    (tmp_path / 'b.png').write_text('text')
    for name in ('a.png', 'b.png'):
        with pytest.raises(ConfigError, match=rf'--from=.*{name}: expected a PNG of generate\.py'):
            read_picture(tmp_path / name)
    with pytest.raises(FileError, match='no such file'):
        read_picture(tmp_path / 'absent.png')


@pytest.mark.parametrize(
    ('origin', 'message'),
    [
        ({'seed': -1, 'class_idx': 0}, "its text 'seed' is damaged: -1"),
        ({'seed': 3}, 'class is needed'),
        ({'seed': 3, 'class_idx': 7}, 'this network knows classes 0 to 1'),
        ({}, 'holds neither a seed nor latents of this network'),
        ({'z': 'x'}, 'holds neither a seed nor latents'),
        ({'z': 3}, 'holds neither a seed nor latents'),
        ({'w': 'AAAA'}, 'holds neither a seed nor latents'),
        ({'z': 'AACAfwAAgH8AAIB/'}, 'z holds NaN, infinity'),
    ],
)
def test_an_origin_of_another_network_is_refused(origin, message):
    with pytest.raises(ValueError, match=message):
        point_of(origin, 'a', Plain(), (), 'a.png')


def test_a_label_vector_is_read_from_its_text():
    label = json.loads('[0.5,-1.0]')
    assert torch.equal(point_of({'seed': 0, 'class': label}, 'a', Plain(), (), 'a.png').c, torch.tensor([0.5, -1.0]))
    assert point_of({'seed': 0, 'class': '0:0.5+1:0.5'}, 'a', Plain(), (), 'a.png').c.tolist() == [0.5, 0.5]
