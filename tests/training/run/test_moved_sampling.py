"""Images of a moved input: a function of the seed, in any parts, with one motion per batch."""

from __future__ import annotations

import math

import pytest
import torch

from dnnlib.errors import ConfigError
from extensions.layers.stylegan3_config import StyleGAN3Config
from extensions.stylegan3 import StyleGAN3Generator
from training.interface import ImageSpec
from training.run.moved_sampling import generated_moves

SPEC = ImageSpec(resolution=16, channels=3, label_dim=0, num_images=1)


@pytest.fixture(scope='module')
def G() -> StyleGAN3Generator:
    torch.manual_seed(0)
    config = StyleGAN3Config(z_dim=4, w_dim=4, channel_base=128, channel_max=8, num_layers=4, margin_size=4)
    return StyleGAN3Generator(config, SPEC).requires_grad_(False)


def stream(G: torch.nn.Module, motion: str, seed: int = 3):
    return generated_moves(G, None, SPEC, motion=motion, num_images=6, seed=seed, batch_size=4)


@pytest.mark.parametrize('motion', ['whole', 'part', 'turn'])
def test_batches_do_not_depend_on_those_before_and_leave_the_network_as_it_is(G, motion) -> None:
    every = list(stream(G, motion)([range(4), range(4, 6)]))
    (last,) = stream(G, motion)([range(4, 6)])
    assert [images.shape for images, _ in every] == [(4, 2, 3, 16, 16), (2, 2, 3, 16, 16)]
    assert torch.equal(last[0], every[1][0])
    assert torch.equal(last[1], every[1][1])
    assert not torch.equal(every[0][1], every[1][1])
    assert not torch.equal(every[0][0][:, 0], every[0][0][:, 1])
    assert torch.equal(G.synthesis.input.transform, torch.eye(3))


def test_motions_stay_in_their_ranges(G) -> None:
    for seed in range(5):
        for motion in ('whole', 'part', 'turn'):
            (_, by), *_ = stream(G, motion, seed)([range(4)])
            assert by.abs().max() <= (math.pi if motion == 'turn' else 0.125)
            if motion == 'whole':
                assert torch.equal(by * 16, (by * 16).round())


def test_a_generator_without_a_transform_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match='Linear takes no transform of its input'):
        stream(torch.nn.Linear(1, 1), 'turn')
