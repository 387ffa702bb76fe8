"""Points: a seed has one latent in every company, and stored latents keep their order, labels and names."""

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.class_option import NO_LABEL, Label, parse_class
from ganfoundry.latent_options import LatentsFile, Seeds, parse_seeds
from ganfoundry.points import (
    PointList,
    batched,
    decode,
    encode,
    points_of_latents,
    points_of_seeds,
    read_points,
    stack,
    ws_of,
    z_of,
)
from tests.support.networks import tiny_G
from training.run.latents import Latents, write_latents


class Plain:
    """A generator without a W space, with 3 classes."""

    z_dim, c_dim = 2, 3


def test_a_seed_is_the_latent_that_stylegan_users_know():
    expected = [[1.764052, 0.400157, 0.978738, 2.240893], [0.176851, 2.377754, 0.998733, -1.310151]]
    assert z_of([0, 85], 512)[:, :4].numpy() == pytest.approx(np.array(expected), abs=1e-6)
    label = parse_class('2', 3)
    points = list(points_of_seeds([0, 85, 12345], 512, label))
    assert [point.name for point in points] == ['seed0000', 'seed0085', 'seed12345']
    assert torch.equal(points[1].latent, z_of([85], 512)[0])
    assert points[1].origin == {'seed': 85, 'class_idx': 2, 'class_name': 'class 2'}
    assert (points[1].noise_seed, points[1].space) == (85, 'z')


def test_a_list_makes_the_points_of_seeds_when_they_are_asked_for():
    points = PointList(parse_seeds('0-4294967295'), 4, NO_LABEL)
    assert len(points) == 2**32
    assert next(iter(points)).name == 'seed0000'
    assert points.find('seed4294967295').origin['seed'] == 2**32 - 1
    for name in ('seed00001', 'seed4294967296', 'seed1', 'grid', 'seed0001-2'):
        assert points.find(name) is None


def test_batches_have_one_space_and_are_made_when_they_are_asked_for():
    stored = points_of_latents(Latents(space='w', points=torch.zeros(3, 2, 2)), torch.zeros(1, 0), stem='me')
    points = PointList(Seeds([range(5)]), 4, NO_LABEL, stored)
    assert [[point.name for point in batch] for batch in batched(points, 3)] == [
        ['seed0000', 'seed0001', 'seed0002'],
        ['seed0003', 'seed0004'],
        ['me-0000', 'me-0001', 'me-0002'],
    ]


def test_stored_latents_keep_their_order_labels_and_indices():
    values = torch.arange(10.0).reshape(5, 2)
    points = points_of_latents(Latents(space='z', points=values), values, stem='me', indices=[3, 0])
    assert [point.name for point in points] == ['me-0003', 'me-0000']
    latents, c = stack(points)
    assert torch.equal(latents, values[[3, 0]])
    assert torch.equal(c, values[[3, 0]])
    assert [point.noise_seed for point in points] == [3, 0]


def test_an_origin_holds_the_latent_to_the_bit():
    values = torch.randn(3, 4)
    assert torch.equal(decode(encode(values), (3, 4)), values)
    (point,) = points_of_latents(Latents(space='w', points=values[None]), torch.zeros(1, 0), stem='me')
    assert torch.equal(decode(point.origin['w'], (3, 4)), values)
    for text in ('', 'x', encode(values)[:-8]):
        with pytest.raises(ValueError, match=r'base64|buffer|reshape'):
            decode(text, (3, 4))


def test_latents_of_a_file_are_chosen_and_labeled(tmp_path):
    path = tmp_path / 'me.npz'
    write_latents(path, Latents(space='z', points=torch.randn(4, 2)))
    file = LatentsFile(path=path, indices=parse_seeds('1-2'))
    label = Label(torch.eye(3)[1], '1', 'dog')
    assert [point.name for point in read_points(file, Plain(), label)] == ['me-0001', 'me-0002']
    assert all(point.c.tolist() == [0, 1, 0] for point in read_points(file, Plain(), label))
    with pytest.raises(ConfigError, match='holds z without labels, and this network is conditional; add --class'):
        read_points(file, Plain(), None)
    with pytest.raises(ConfigError, match=r'--rows=.*me\.npz:4: the file holds 4 points, with indices 0 to 3'):
        read_points(LatentsFile(path=path, indices=parse_seeds('4')), Plain(), label, option='--rows')
    with pytest.raises(ConfigError, match=r'--latents=.*absent\.npz: expected an \.npz'):
        read_points(LatentsFile(path=tmp_path / 'absent.npz'), Plain(), label)
    write_latents(path, Latents(space='z', points=torch.randn(1, 2), c=torch.eye(3)[2:]))
    assert read_points(LatentsFile(path=path), Plain(), label)[0].c.tolist() == [0, 0, 1]


def test_styles_of_z_are_truncated_and_styles_are_final():
    G = tiny_G()
    points = list(points_of_seeds([1, 2], G.z_dim, NO_LABEL))
    with torch.no_grad():
        ws = ws_of(G, points, 0.5)
        assert torch.equal(ws, G.mapping(z_of([1, 2], G.z_dim), torch.zeros(2, 0), truncation_psi=0.5))
        stored = points_of_latents(Latents(space='w', points=ws), torch.zeros(1, 0), stem='me')
        assert torch.equal(ws_of(G, stored, 0.5), ws)
