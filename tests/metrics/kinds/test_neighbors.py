"""Nearest neighbors: decisions as exact as pair by pair, in any blocks."""

import pytest
import torch

from dnnlib.errors import DataError
from metrics.kinds.density_coverage import density_coverage
from metrics.kinds.memorization import authenticity
from metrics.kinds.neighbors import Neighborhood, about_mean
from metrics.kinds.precision_recall import precision_recall
from tests.support.features import distances, radii, randn


def whole(blocks):
    return torch.cat(list(blocks))


# Sets whose members float32 products cannot distinguish: copies, a grid full of ties, points far from the origin.
HARD = {
    'copies': torch.cat([randn(20, 6)] * 3).double(),
    'a grid': torch.cartesian_prod(*[torch.arange(4.0)] * 3).double(),
    'far away': randn(60, 6).double() * 1e-2 + 1000,
    'one point': torch.ones(30, 6).double(),
    'nearly one point': 1 + randn(30, 6).double() * 1e-5,
}


@pytest.mark.parametrize('k', [1, 3])
@pytest.mark.parametrize('name', HARD)
def test_who_is_in_which_ball_is_exact_where_float32_cannot_tell(name, k):
    members = HARD[name]
    queries = torch.cat([members[::2], members[1::3] + 1e-3, members.mean(dim=0, keepdim=True)])
    for block in (1, 100, 10**6):
        found = Neighborhood(members, k, block=block)
        assert torch.allclose(found.radii, radii(members, k), rtol=1e-6, atol=1e-8 if name == 'far away' else 1e-13)
        assert torch.equal(whole(found.inside(queries)), distances(queries, members) <= radii(members, k))


@pytest.mark.parametrize('block', [1, 130, 10**6])
def test_the_nearest_come_in_their_order(block):
    members, queries = randn(50, 6).double(), randn(20, 6, seed=1).double()
    exact, order = distances(queries, members).sort(dim=1)
    found, indices = Neighborhood(members, 1, block=block).nearest(queries, 4)
    assert torch.allclose(found, exact[:, :4], rtol=1e-12)
    assert torch.equal(indices, order[:, :4])


def test_shifting_both_sets_changes_nothing():
    real, fake = randn(50, 8), randn(40, 8, seed=1)
    centered = about_mean(real + 100, fake + 100)
    assert torch.allclose(centered[0], (real - real.mean(dim=0)).double(), atol=1e-4)
    assert torch.allclose(centered[1] - centered[0][:40], (fake - real[:40]).double(), atol=1e-4)
    assert centered[1].dtype == torch.float64


def test_a_copied_set_is_all_inside():
    real = randn(80, 16)
    assert precision_recall(real, real.clone()) == (1, 1)
    assert density_coverage(real, real.clone())[1] == 1


@pytest.mark.parametrize('measure', [precision_recall, density_coverage, authenticity])
@pytest.mark.parametrize('side', [0, 1])
def test_features_that_are_not_finite_have_no_neighbors(measure, side):
    features = [randn(20, 3), randn(20, 3, seed=1)]
    features[side][4, 1] = float('nan')
    with pytest.raises(DataError, match='not all numbers are finite'):
        measure(*features)
