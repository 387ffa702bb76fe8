"""Latents files: what is written is read, other projectors' files are read, what does not fit is named."""

import json

import numpy as np
import pytest
import torch

from dnnlib.errors import DataError
from training.interface import StyleGenerator
from training.run.latents import Latents, note_on, read_latents, space_of, write_latents


class Plain:
    """A generator with latents of 5 numbers and 2 classes."""

    z_dim, c_dim, img_resolution, img_channels = 5, 2, 8, 3

    def __call__(self, z, c, *, truncation_psi=1, noise_mode='const'):
        raise AssertionError('nothing is drawn here')


class Style(Plain):
    """The same with a W space."""

    w_dim, num_ws = 4, 3

    def mapping(self, z, c):
        raise AssertionError('nothing is drawn here')

    synthesis = mapping


def test_the_space_of_a_generator_is_w_if_it_has_one():
    assert isinstance(Style(), StyleGenerator)
    assert (space_of(Style()), space_of(Plain())) == ('w', 'z')


@pytest.mark.parametrize(
    ('space', 'shape', 'G'), [('w', (6, 3, 4), Style()), ('z', (6, 5), Plain()), ('z', (6, 5), Style())]
)
def test_latents_are_read_as_they_were_written(tmp_path, space, shape, G):
    points, c = torch.randn(shape), torch.eye(2).repeat(3, 1)
    write_latents(tmp_path / 'a.npz', Latents(space=space, points=points, c=c, provenance={'seeds': [1, 2]}))
    found = read_latents(tmp_path / 'a.npz', G)
    assert (found.space, found.provenance) == (space, {'seeds': [1, 2]})
    assert torch.equal(found.points, points)
    assert torch.equal(found.c, c)


def test_a_file_with_both_spaces_gives_the_one_that_a_network_has(tmp_path):
    np.savez(tmp_path / 'a.npz', w=np.zeros([2, 3, 4]), z=np.ones([2, 5]))
    assert read_latents(tmp_path / 'a.npz', Style()).space == 'w'
    assert read_latents(tmp_path / 'a.npz', Plain()).space == 'z'


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        ({'w': np.zeros([2, 3, 4])}, 'holds w, and this network has no W space'),
        ({'z': np.zeros([2, 4])}, r'z is float64 \[2, 4\]; this network takes floats \[N, 5\]'),
        ({'z': np.zeros([2, 5], int)}, 'z is int64'),
        ({'z': np.zeros([2, 5]), 'c': np.zeros([1, 2])}, r'c has the shape \[1, 2\]; this network takes \[2, 2\]'),
        ({'x': np.zeros(2)}, 'expected an .npz with an array "w" or "z"'),
        ({'z': np.zeros([2, 5]), 'provenance': np.array('{')}, 'its provenance is no JSON'),
        ({'z': np.zeros([2, 5]), 'provenance': np.array('[]')}, 'its provenance is no JSON object'),
        ({'z': np.array([{}], object)}, 'expected an .npz'),  # a pickle, which is not executed
    ],
)
def test_what_does_not_fit_is_named_with_its_file(tmp_path, arrays, message):
    np.savez(tmp_path / 'a.npz', **arrays)
    with pytest.raises(DataError, match=message) as error:
        read_latents(tmp_path / 'a.npz', Plain())
    assert str(tmp_path / 'a.npz') in str(error.value)


def test_latents_of_another_network_are_noted_with_both_digests():
    latents = Latents(space='z', points=torch.zeros(1, 5), provenance={'network_sha256': 'aa'})
    assert note_on(latents, 'aa') is None
    assert note_on(Latents(space='z', points=torch.zeros(1, 5)), 'aa') is None
    text = note_on(latents, 'bb')
    assert 'aa' in text
    assert 'bb' in text
    json.dumps(text)
