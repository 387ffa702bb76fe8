"""Latents files: what is written is read, other projectors' files are read, what does not fit is named."""

import json
import os
import zipfile

import numpy as np
import pytest
import torch

from dnnlib.errors import DataError
from training.interface import StyleGenerator
from training.run import latents
from training.run.latents import Latents, note_on, read_latents, space_of, spaces_of, write_latents


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
    assert (spaces_of(Style()), spaces_of(Plain())) == (('w', 'w+', 'z'), ('z',))


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


def test_equal_latents_give_equal_bytes_and_leave_no_other_file(tmp_path):
    found = Latents(space='z', points=torch.ones(2, 5), provenance={'seeds': [1, 2]})
    for name in ('a.npz', 'b.npz'):
        write_latents(tmp_path / name, found)
    assert (tmp_path / 'a.npz').read_bytes() == (tmp_path / 'b.npz').read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.npz', 'b.npz']


@pytest.mark.parametrize(
    'points', [np.ones([2, 5], '>f8'), np.asfortranarray(np.arange(10, dtype=np.float16).reshape(2, 5))]
)
@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_files_of_other_programs_are_read(tmp_path, points, save):
    save(tmp_path / 'a.npz', z=points, name='not read')
    assert np.array_equal(read_latents(tmp_path / 'a.npz', Plain()).points, points)


def test_an_announced_size_is_checked_before_anything_is_allocated(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 5), }".ljust(117) + '\n'
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive:
        archive.writestr('z.npy', b'\x93NUMPY\x01\x00\x76\x00' + header.encode() + b'0' * 40)
    with pytest.raises(DataError, match=r'a\.npz: expected an \.npz .*z\.npy is cut short'):
        read_latents(tmp_path / 'a.npz', Plain())


@pytest.mark.parametrize(
    'header', ["{'descr': '<f4', 'shape': (1", "a'''", '  x\n y\n', '{[]: 1}', "{'shape': (-1, 5)}"]
)
def test_a_header_whose_parser_raises_anything_is_an_error_that_names_the_file(tmp_path, header):
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive:
        archive.writestr('z.npy', b'\x93NUMPY\x01\x00' + bytes([len(header), 0]) + header.encode() + b'0' * 40)
    with pytest.raises(DataError, match=r'a\.npz: expected an \.npz'):
        read_latents(tmp_path / 'a.npz', Plain())


def test_an_array_above_its_limit_is_not_read(tmp_path, monkeypatch):
    np.savez(tmp_path / 'a.npz', z=np.zeros([2, 5]))
    monkeypatch.setitem(latents.MAX_BYTES, 'z', 100)
    with pytest.raises(DataError, match=r'z\.npy has 208 bytes; at most 100 are read'):
        read_latents(tmp_path / 'a.npz', Plain())


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for name, fault in (('pipe', 'a named pipe; expected a file'), ('absent', 'no such file'), ('', 'a folder')):
        with pytest.raises(DataError, match=rf'{tmp_path / name}: expected an .*\({fault}'):
            read_latents(tmp_path / name, Plain())


def test_every_damaged_byte_is_noticed(tmp_path):
    write_latents(tmp_path / 'a.npz', Latents(space='z', points=torch.ones(2, 5), provenance={'seeds': [1]}))
    data = (tmp_path / 'a.npz').read_bytes()
    for size in range(0, len(data), 7):
        (tmp_path / 'b.npz').write_bytes(data[:size])
        with pytest.raises(DataError, match='b\\.npz'):
            read_latents(tmp_path / 'b.npz', Plain())
    (tmp_path / 'b.npz').write_bytes(data.replace(np.ones(1, np.float32).tobytes(), b'\0\0\0\x3f', 1))
    with pytest.raises(DataError, match='Bad CRC'):
        read_latents(tmp_path / 'b.npz', Plain())


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        ({'w': np.zeros([2, 3, 4])}, 'holds w, and this network has no W space'),
        ({'z': np.zeros([2, 4])}, r'z is float64 \[2, 4\]; this network takes floats \[N, 5\]'),
        ({'z': np.zeros([2, 5], int)}, 'z is int64'),
        ({'z': np.zeros([2, 5]), 'c': np.zeros([1, 2])}, r'c is float64 \[1, 2\]; this network takes numbers \[2, 2\]'),
        ({'z': np.zeros([2, 5]), 'c': np.full([2, 2], 'a')}, r'c is <U1 \[2, 2\]; this network takes numbers'),
        ({'z': np.zeros([2, 5]), 'c': np.full([2, 2], np.inf)}, r'c holds NaN, infinity.* at index 0 \(2 of 2\)'),
        ({'z': np.zeros([0, 5])}, r'z is float64 \[0, 5\]'),
        ({'z': np.array([[1.0] * 5, [np.nan] * 5])}, r'z holds NaN, infinity.* at index 1 \(1 of 2\)'),
        ({'z': np.full([1, 5], 1e300)}, 'or a number too large for float32'),
        ({'z': np.zeros([2, 5]), 'w': np.zeros([2, 3, 4])}, 'holds both w and z; expected'),
        ({'x': np.zeros(2)}, 'expected an .npz with an array "w" or "z"'),
        ({'z': np.zeros([2, 5]), 'provenance': np.array('{')}, 'provenance, line 1: not JSON'),
        (
            {'z': np.zeros([2, 5]), 'provenance': np.array('[]')},
            r'provenance: is a list .*expected an object',
        ),
        ({'z': np.array([{}], object)}, 'expected an .npz'),  # a pickle, which is not executed
    ],
)
def test_what_does_not_fit_is_named_with_its_file(tmp_path, arrays, message):
    np.savez(tmp_path / 'a.npz', **arrays)
    with pytest.raises(DataError, match=message) as error:
        read_latents(tmp_path / 'a.npz', Plain())
    assert str(tmp_path / 'a.npz') in str(error.value)


def test_latents_of_another_network_are_noted_with_both_digests():
    foreign = Latents(space='z', points=torch.zeros(1, 5), provenance={'network_sha256': 'aa'})
    assert note_on(foreign, 'aa') is None
    assert note_on(Latents(space='z', points=torch.zeros(1, 5)), 'aa') is None
    text = note_on(foreign, 'bb')
    assert 'aa' in text
    assert 'bb' in text
    json.dumps(text)
