"""Authenticity and the search for copies: their definitions, and copies that are found."""

import pytest
import torch

from dnnlib.errors import DataError
from metrics.kinds.memorization import authenticity, closest_pairs
from metrics.kinds.neighbors import Neighborhood
from tests.support.features import distances, radii, randn


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
