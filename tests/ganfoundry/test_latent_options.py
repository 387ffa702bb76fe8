"""Options that choose latents: what is written is read, what cannot be is named."""

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.latent_options import (
    batches_of_latents,
    batches_of_seeds,
    chosen_seeds,
    one_hot,
    parse_seeds,
    z_of,
)
from training.run.latents import Latents


@pytest.mark.parametrize(
    ('text', 'seeds'), [('3', [3]), ('0,3,8-11', [0, 3, 8, 9, 10, 11]), (' 2 - 3 , 2', [2, 3, 2]), ('5-5', [5])]
)
def test_seeds_are_numbers_and_ranges(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize('text', ['', '1-', '-1', 'a', '1,,2', '5-2', '4294967296', '1.5'])
def test_other_words_are_refused_with_an_example_or_the_range(text):
    with pytest.raises(ConfigError, match=f'--seeds={text}: (expected numbers and ranges|a range goes up)'):
        parse_seeds(text)


def test_a_grid_without_seeds_is_filled_and_has_a_place_for_each_seed():
    assert chosen_seeds(None, (3, 2)) == list(range(6))
    assert chosen_seeds('7-9', (2, 2)) == [7, 8, 9]
    with pytest.raises(ConfigError, match='--grid=2x1 has fewer places than the 3 --seeds'):
        chosen_seeds('7-9', (2, 1))
    with pytest.raises(ConfigError, match='--seeds is needed'):
        chosen_seeds(None, None)


def test_a_class_is_one_hot_and_must_exist():
    assert one_hot(3, 1).tolist() == [[0, 1, 0]]
    assert one_hot(0, None).shape == (1, 0)
    for c_dim, class_idx, message in (
        (3, None, 'name is needed: this network is conditional, on classes 0 to 2'),
        (3, 3, 'name=3: this network knows classes 0 to 2'),
        (3, -1, 'name=-1: this network knows'),
        (0, 0, 'name=0: this network is unconditional'),
    ):
        with pytest.raises(ConfigError, match=message):
            one_hot(c_dim, class_idx, 'name')


def test_a_seed_has_the_same_latent_in_every_batch():
    c = torch.eye(3)
    (whole,) = batches_of_seeds([4, 5, 6], 8, c, 3)
    parts = list(batches_of_seeds([4, 5, 6], 8, c, 2))
    assert [len(part.points) for part in parts] == [2, 1]
    assert [part.seed for part in parts] == [4, 6]
    for field in ('points', 'c'):
        assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(whole, field))
    assert torch.equal(whole.points, z_of([4, 5, 6], 8))
    assert np.allclose(whole.points[1], np.random.RandomState(5).randn(8))


def test_stored_latents_keep_their_order_and_labels():
    points = torch.arange(10.0).reshape(5, 2)
    parts = list(batches_of_latents(Latents(space='z', points=points), points, 2))
    assert torch.equal(torch.cat([part.points for part in parts]), points)
    assert torch.equal(torch.cat([part.c for part in parts]), points)
    shared = list(batches_of_latents(Latents(space='w', points=points), points[:1], 2))
    assert all(torch.equal(part.c, points[:1]) and part.space == 'w' for part in shared)
