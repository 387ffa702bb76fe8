"""Mean and covariance of a stream: exact in any batches, any order and any division among processes."""

import numpy as np
import pytest
import torch

from metrics.kinds.features import BLOCK_ITEMS, FeatureStats
from tests.support.features import moments, randn


def test_statistics_are_the_mean_and_the_biased_covariance():
    features = randn(50, 6) + 3
    mean, cov = moments(features)
    assert np.allclose(mean, features.double().mean(dim=0), rtol=1e-13)
    assert np.allclose(cov, np.cov(features.double().T, ddof=0), rtol=1e-12)


@pytest.mark.parametrize('offset', [0.0, 1e4])
def test_statistics_do_not_depend_on_the_batches_or_their_order(offset):
    features = randn(203, 16).double() + offset
    mean, cov = moments(features)
    shuffled = FeatureStats(16)
    for batch in features[torch.randperm(203, generator=torch.Generator().manual_seed(1))].split(7):
        shuffled.append(batch)
    for other, reference in zip(shuffled.mean_cov(), (mean, cov), strict=True):
        assert (other - reference).abs().max() <= 1e-12 * max(1.0, offset)


def test_merging_is_appending():
    features = randn(90, 8)
    whole, left, right = (FeatureStats(8) for _ in range(3))
    whole.append(features)
    for batch in features[:20].split(6):
        left.append(batch)
    right.append(features[20:])
    left.merge(right)
    left.merge(FeatureStats(8))
    assert left.num_items == 90
    for merged, reference in zip(left.mean_cov(), whole.mean_cov(), strict=True):
        assert (merged - reference).abs().max() <= 1e-12


def test_batches_do_not_show_in_a_single_bit():
    features = randn(2 * BLOCK_ITEMS + 300, 8)
    found = []
    for size in (1, 7, 64, BLOCK_ITEMS, BLOCK_ITEMS + 1, len(features)):
        stats = FeatureStats(8)
        for batch in features.split(size):
            stats.append(batch)
            if size == 64:
                stats.mean_cov()  # asking in between changes nothing
        assert stats.num_items == len(features)
        found.append(stats.mean_cov())
    for mean, cov in found:
        assert torch.equal(mean, found[0][0])
        assert torch.equal(cov, found[0][1])


def test_parts_of_ranks_merge_to_the_whole_in_any_order():
    features = randn(3000, 12).double() * torch.logspace(-3, 3, 12).double() + 5
    whole = FeatureStats(12)
    whole.append(features)
    scale = features.abs().max() ** 2
    for num_ranks in (2, 3):
        parts = []
        for rank in range(num_ranks):
            parts.append(FeatureStats(12))
            parts[-1].append(features[rank::num_ranks])
        for order in (parts, parts[::-1]):
            total = FeatureStats(12)
            for part in order:
                total.merge(part)
            for found, reference in zip(total.mean_cov(), whole.mean_cov(), strict=True):
                assert (found - reference).abs().max() <= 1e-12 * scale


def test_a_batch_may_be_reused_by_its_owner():
    stats, batch = FeatureStats(4), torch.ones(10, 4)
    stats.append(batch)
    batch.fill_(7)
    assert torch.equal(stats.mean_cov()[0], torch.ones(4).double())
