"""Diversity within classes: relative to real images, and blind to noise and to what differs between classes."""

import numpy as np
import pytest
import torch

from training.optimize.diversity import are_one_hot, classes_of, mean_distance, relative_diversity, without_detail

TWO = torch.tensor([0, 0, 0, 1, 1, 1])


def images(spread, offset=0.0):
    """Returns three images of each of two classes; within a class the distances are spread, spread and 2 spread."""
    levels = torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0, 2.0]) * spread + TWO * offset
    return levels[:, None, None, None].expand(6, 3, 4, 4)


def test_the_distance_is_the_mean_over_pairs_of_the_root_mean_square_over_pixels():
    assert mean_distance(images(3.0)[:3]) == pytest.approx((3 + 3 + 6) / 3)


def test_only_differences_within_a_class_count():
    found = relative_diversity(images(1.0, offset=100), TWO, images(4.0, offset=50), TWO)
    assert (found.mean, found.least) == (pytest.approx(0.25), pytest.approx(0.25))


def test_the_least_varied_class_is_found():
    fakes = images(4.0).clone()
    fakes[3:] = 7  # one picture of the second class
    found = relative_diversity(fakes, TWO, images(4.0), TWO)
    assert (found.mean, found.least) == (pytest.approx(0.5), 0)


def test_classes_without_two_different_real_images_are_left_out():
    reals = images(4.0).clone()
    reals[3:] = 7
    assert relative_diversity(images(2.0), TWO, reals, TWO).mean == pytest.approx(0.5)
    assert relative_diversity(images(2.0), TWO, torch.zeros(6, 3, 4, 4), TWO) is None
    assert relative_diversity(images(2.0), torch.arange(6), images(2.0), TWO) is None


def test_noise_hardly_counts_without_detail():
    noise = torch.randint(0, 256, [6, 3, 64, 32], dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    small = without_detail(noise)
    expected = noise.double().unfold(2, 8, 8).unfold(3, 4, 4).mean(dim=(4, 5))
    assert torch.allclose(small, expected)
    assert mean_distance(small) < mean_distance(noise) / 4


def test_labels_that_are_no_classes_are_one_class():
    one_hot = torch.eye(3)[[2, 0, 2]]
    assert classes_of(one_hot).tolist() == [2, 0, 2]
    assert classes_of(one_hot.numpy()).tolist() == [2, 0, 2]
    assert classes_of(one_hot / 2).tolist() == [0, 0, 0]
    assert classes_of(np.zeros([3, 0], dtype=np.float32)).tolist() == [0, 0, 0]
    assert not are_one_hot(torch.zeros(2, 3))
