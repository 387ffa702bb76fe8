"""Inception score: the official number, and the formula split by split."""

import numpy as np
import pytest
import torch

from dnnlib.errors import DataError
from metrics.kinds.inception_score import inception_score
from tests.support.features import randn


def test_inception_score_is_the_official_one(numbers):
    found = inception_score(numbers['probs'])
    assert found == pytest.approx((float(numbers['is_mean']), float(numbers['is_std'])), rel=1e-6)


def test_inception_score_is_the_formula_split_by_split():
    probabilities = (randn(47, 6) * 2).double().softmax(dim=1).numpy()
    scores = []
    for split in range(10):
        part = probabilities[split * 47 // 10 : (split + 1) * 47 // 10]
        scores.append(np.exp(np.mean([sum(p * np.log(p / part.mean(axis=0))) for p in part])))
    assert inception_score(torch.from_numpy(probabilities)) == pytest.approx(
        (np.mean(scores), np.std(scores)), rel=1e-12
    )


def test_inception_score_of_certain_and_even_classes_is_their_number():
    assert inception_score(torch.eye(5).repeat(20, 1)) == pytest.approx((5, 0), abs=1e-12)
    assert inception_score(torch.full((20, 5), 0.2)) == pytest.approx((1, 0), abs=1e-6)


def test_inception_score_needs_two_images_per_split():
    """The score of one image is always 1."""
    with pytest.raises(DataError, match='needs 20 images, two per split, got 19'):
        inception_score(torch.eye(5).repeat(4, 1)[:19])
