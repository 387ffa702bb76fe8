"""The order of the data: one global sequence for any number of ranks."""

import hashlib
import itertools

import numpy as np
import pytest

from dnnlib.errors import ConfigError
from training.data.dataset import DataConfig, ImageDataset
from training.data.sampler import EpochSampler


@pytest.fixture(scope='module')
def dataset() -> ImageDataset:
    return ImageDataset(DataConfig(cond=True, subset=50, resolution=16))


def test_every_epoch_is_another_permutation():
    sampler = EpochSampler(100, seed=3)
    epochs = sampler.indices(0, 500).reshape(5, 100)
    assert (np.sort(epochs, axis=1) == np.arange(100)).all()
    assert len({epoch.tobytes() for epoch in epochs}) == 5


def test_order_is_frozen_for_ever():
    """A resumed run must meet the order it began with, whatever NumPy, Python or this project have become."""
    assert EpochSampler(10, seed=0).indices(0, 20).tolist() == [
        0,
        2,
        9,
        6,
        7,
        3,
        8,
        4,
        1,
        5,
        6,
        4,
        5,
        9,
        1,
        0,
        2,
        8,
        7,
        3,
    ]
    digest = hashlib.sha256(EpochSampler(4096, seed=7).indices(123, 20000).astype('<i8').tobytes()).hexdigest()
    assert digest[:16] == '6151522142ee2097'


def test_index_is_a_pure_function_of_position():
    sequence = EpochSampler(7, seed=1).indices(0, 100)
    sampler = EpochSampler(7, seed=1)
    for position in np.random.RandomState(0).permutation(100):
        assert sampler.index(int(position)) == sequence[position]
    for start, count in [(0, 0), (6, 2), (3, 40), (99, 1)]:
        assert sampler.indices(start, count).tolist() == sequence[start : start + count].tolist()


def test_seeds_give_other_orders_and_negative_ones_a_message():
    assert EpochSampler(100, seed=0).indices(0, 100).tolist() != EpochSampler(100, seed=1).indices(0, 100).tolist()
    with pytest.raises(ConfigError, match='--seed=-1'):
        EpochSampler(100, seed=-1)


@pytest.mark.parametrize('world', [1, 2, 4])
def test_ranks_together_see_the_one_global_sequence(world):
    sampler = EpochSampler(10, seed=5)
    for nimg in (0, 8, 16):
        joined = np.concatenate([sampler.batch_indices(nimg, 8, rank, world) for rank in range(world)])
        assert joined.tolist() == sampler.indices(nimg, 8).tolist()


def test_batches_begin_anywhere():
    sampler = EpochSampler(10, seed=5)
    whole = list(itertools.islice(sampler.batches(0, 4), 6))
    late = list(itertools.islice(sampler.batches(12, 4), 3))
    assert [batch.tolist() for batch in late] == [batch.tolist() for batch in whole[3:]]
