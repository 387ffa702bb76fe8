"""One pass over a stream: every prefix is measured as if it were alone, in any batches."""

import pytest
import torch

from metrics.detectors.interface import Features
from metrics.extraction import Extraction, Requirements
from metrics.kinds.features import BLOCK_ITEMS, FeatureStats

NUM_ITEMS = BLOCK_ITEMS + 277
FEATURES = torch.randn(NUM_ITEMS, 5, generator=torch.Generator().manual_seed(0)) + 2
PROBABILITIES = FEATURES.softmax(dim=1)
REQUIRED = Requirements(moments=frozenset({100, 1100, NUM_ITEMS}), features=700, probabilities=50)


def items(which):
    return Features(FEATURES[which], PROBABILITIES[which])


def seen(batches, need=REQUIRED):
    extraction = Extraction(5, need)
    for batch in batches:
        extraction.append(batch)
    return extraction


def in_batches(size):
    return (items(slice(start, start + size)) for start in range(0, NUM_ITEMS, size))


def assert_same_bits(found, reference):
    assert found.held == reference.held == REQUIRED
    for count in REQUIRED.moments:
        assert all(torch.equal(a, b) for a, b in zip(found.moments(count), reference.moments(count), strict=True))
    assert torch.equal(found.features(700), FEATURES[:700])
    assert torch.equal(found.probabilities(50), PROBABILITIES[:50])


@pytest.fixture(scope='module')
def reference():
    return seen([items(slice(None))])


def test_every_prefix_is_told_as_if_it_were_alone(reference):
    for count in REQUIRED.moments:
        stats = FeatureStats(5)
        stats.append(FEATURES[:count])
        alone = stats.mean_cov()
        assert all(torch.equal(a, b) for a, b in zip(reference.moments(count), alone, strict=True))


@pytest.mark.parametrize('size', [1, 7, 64])
def test_the_size_of_batches_does_not_show_in_a_single_bit(reference, size):
    assert_same_bits(seen(in_batches(size)), reference)


def test_statistics_of_ranks_alone_merge_to_twelve_digits(reference):
    for num_ranks in (2, 3):
        total = FeatureStats(5)
        for rank in range(num_ranks):
            part = FeatureStats(5)
            part.append(FEATURES[rank::num_ranks])
            total.merge(part)
        for found, expected in zip(total.mean_cov(), reference.moments(NUM_ITEMS), strict=True):
            assert (found - expected).abs().max() < 1e-12


def test_items_beyond_the_need_are_left():
    extraction = seen(in_batches(64), Requirements(moments=frozenset({10}), features=20))
    assert extraction.held == Requirements(moments=frozenset({10}), features=20)


def test_a_need_knows_what_remains():
    required = Requirements(moments=frozenset({10, 20}), features=5)
    assert required.without(Requirements(moments=frozenset({10}), features=9)) == Requirements(moments=frozenset({20}))
    assert required.without(Requirements(features=4)) == required
    assert required.without(required).num_items == 0
    assert required.union(Requirements(features=9, probabilities=3)).num_items == 20


def test_another_pass_adds_what_was_missing():
    first = seen(in_batches(64), Requirements(moments=frozenset({30}), features=8))
    first.absorb(seen(in_batches(64), Requirements(moments=frozenset({60}), features=4, probabilities=2)))
    assert first.held == Requirements(moments=frozenset({30, 60}), features=8, probabilities=2)
    assert torch.equal(first.features(8), FEATURES[:8])
