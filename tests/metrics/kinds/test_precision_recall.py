"""Precision and recall: the official numbers, and the definition item by item."""

import numpy as np
import pytest

from dnnlib.errors import DataError
from metrics.kinds.precision_recall import precision_recall
from tests.support.features import randn


def test_precision_and_recall_are_the_official_ones(numbers):
    found = precision_recall(numbers['real'], numbers['gen'], neighbors=3)
    assert found == pytest.approx((float(numbers['precision']), float(numbers['recall'])), rel=1e-6)


def brute_force_coverage(queries, members, k):
    """Returns the share of queries in the manifold of the members: Kynkäänniemi et al. 2019, Algorithm 1."""
    queries, members = queries.double().numpy(), members.double().numpy()
    radii = [sorted(np.linalg.norm(members - member, axis=1))[k] for member in members]  # [0] is the member itself
    return np.mean([any(np.linalg.norm(q - m) <= r for m, r in zip(members, radii, strict=True)) for q in queries])


@pytest.mark.parametrize('neighbors', [1, 3, 5])
def test_precision_and_recall_are_those_of_brute_force(neighbors):
    real, fake = randn(60, 5), randn(45, 5, seed=1) * 0.8 + 1
    expected = brute_force_coverage(fake, real, neighbors), brute_force_coverage(real, fake, neighbors)
    assert precision_recall(real, fake, neighbors=neighbors) == expected
    assert all(0 < share < 1 for share in expected)


def test_precision_and_recall_do_not_depend_on_the_blocks():
    real, fake = randn(60, 5), randn(45, 5, seed=1) * 0.8
    whole = precision_recall(real, fake)
    for block in (1, 7 * 60, 10**6):
        assert precision_recall(real, fake, block=block) == whole


def test_precision_and_recall_tell_collapse_from_spread():
    real = randn(100, 4)
    collapsed = real[:5].repeat(20, 1) + 1e-3 * randn(100, 4, seed=1)
    spread = randn(100, 4, seed=2) * 4
    precision, recall = precision_recall(real, collapsed)
    assert precision == 1
    assert recall < 0.1
    precision, recall = precision_recall(real, spread)
    assert precision < 0.4
    assert recall > 0.9


def test_precision_and_recall_need_more_items_than_neighbours():
    with pytest.raises(DataError, match='3 real and 9 generated'):
        precision_recall(randn(3, 4), randn(9, 4), neighbors=3)
