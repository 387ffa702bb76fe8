"""Nearest neighbors, density and coverage, copies: decisions as exact as pair by pair, in any blocks."""

import numpy as np
import pytest
import torch

from dnnlib.errors import DataError
from metrics.kinds.density_coverage import density_coverage
from metrics.kinds.memorization import authenticity, closest_pairs
from metrics.kinds.neighbors import Neighborhood, about_mean
from metrics.kinds.precision_recall import precision_recall


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distances(a, b):
    """Squared, pair by pair, float64 [len(a), len(b)]."""
    return (a.double()[:, None] - b.double()[None]).square().sum(dim=2)


def radii(members, k):
    return distances(members, members).fill_diagonal_(torch.inf).sort(dim=1).values[:, k - 1]


def whole(blocks):
    return torch.cat(list(blocks))


# Sets that float32 products cannot tell apart: copies, a grid full of ties, points far from the origin.
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


# ---- density and coverage


@pytest.mark.parametrize('k', [1, 5])
def test_density_and_coverage_are_their_formulas(k):
    real, fake = randn(60, 5), randn(45, 5, seed=1) * 0.8 + 0.5
    inside = (distances(fake, real) <= radii(real, k)).numpy()  # [M, N]
    found = density_coverage(real, fake, neighbors=k)
    assert found == pytest.approx((inside.sum() / (k * 45), inside.any(axis=0).mean()), rel=1e-12)
    assert density_coverage(real, fake, neighbors=k, block=130) == found


def test_density_and_coverage_of_one_distribution_are_what_the_paper_expects():
    # Sec. 3: expected density 1; coverage 1 - (N - 1) ... (N - k) / ((M + N - 1) ... (M + N - k)).
    n = m = 300
    found = np.array([density_coverage(randn(n, 8, seed=2 * s), randn(m, 8, seed=2 * s + 1)) for s in range(20)])
    errors = found.std(axis=0, ddof=1) / 20**0.5
    coverage = 1 - np.prod([(n - i) / (m + n - i) for i in range(1, 6)])
    assert (abs(found.mean(axis=0) - [1, coverage]) < 3 * errors).all()


def test_an_outlier_among_the_reals_moves_precision_and_hardly_density():
    real, fake = randn(100, 4), randn(100, 4, seed=1) + 4
    with_outlier = torch.cat([real, torch.full((1, 4), 12.0)])
    assert precision_recall(with_outlier, fake)[0] > precision_recall(real, fake)[0] + 0.5
    assert density_coverage(with_outlier, fake)[0] < density_coverage(real, fake)[0] + 0.25


def test_density_and_coverage_need_more_reals_than_neighbours():
    with pytest.raises(DataError, match='more than 5 real images and a generated, got 5 real and 9 gen'):
        density_coverage(randn(5, 4), randn(9, 4))


# ---- copies


def test_authenticity_is_its_definition():
    real, fake = randn(70, 4), randn(50, 4, seed=1)
    near, index = distances(fake, real).min(dim=1)
    expected = float((near > radii(real, 1)[index]).double().mean())
    assert authenticity(real, fake) == authenticity(real, fake, block=75) == expected
    assert 0.2 < expected < 0.8


def test_copies_are_not_authentic_and_new_images_are_about_half():
    real = randn(2000, 3)
    assert authenticity(real, real[:300] + 1e-4 * randn(300, 3, seed=1)) < 0.05
    assert abs(authenticity(real, randn(2000, 3, seed=2)) - 0.5) < 0.1
    assert authenticity(real, randn(300, 3, seed=3) + 50) == 1


def test_a_copy_of_an_image_that_the_data_set_holds_twice_is_a_copy():
    real = torch.cat([randn(10, 4)] * 2)
    assert authenticity(real, real[:5]) == 0


def test_authenticity_needs_two_reals():
    with pytest.raises(DataError, match='got 1 real and 9 gen'):
        authenticity(randn(1, 4), randn(9, 4))


def test_the_sheet_shows_the_nearest_copies_first_beside_their_originals():
    real, fake = randn(40, 4) * 3, randn(30, 4, seed=1) * 3
    fake[11], fake[23] = real[7], real[31] + 1e-3
    pairs = closest_pairs(Neighborhood(real.double(), 1), fake.double(), num_samples=5, num_reals=3)
    assert pairs.samples[:2] == [11, 23]
    assert [reals[0] for reals in pairs.reals[:2]] == [7, 31]
    assert pairs.ratios == sorted(pairs.ratios)
    assert [len(reals) for reals in pairs.reals] == [3] * 5
