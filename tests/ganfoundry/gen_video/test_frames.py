"""Contents of films: keyframes at their places, sweeps from end to end, noise that returns."""

import math

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.directions import Directions
from ganfoundry.gen_video.frames import (
    NoiseCircle,
    morph,
    positions,
    sweep_direction,
    sweep_noise,
    sweep_truncation,
)
from tests.support.networks import tiny_G
from training.run.latents import Latents


def z_of_ones(count: int) -> Latents:
    return Latents(space='z', points=torch.arange(count * 3.0).reshape(count, 3) + 1)


@pytest.mark.parametrize('space', ['z', 'w'])
def test_each_cell_passes_its_keyframes_and_returns(space):
    points = torch.randn(4, 3) if space == 'z' else torch.randn(4, 2, 3)
    labels = torch.eye(4)
    frames = list(
        morph(
            Latents(space=space, points=points),
            labels,
            cells=2,
            num_keyframes=2,
            num_between=5,
            interpolation='cubic',
        )
    )
    assert len(frames) == 10
    for frame, keyframes in ((frames[0], [0, 2]), (frames[5], [1, 3])):
        assert frame.space == space
        torch.testing.assert_close(frame.points, points[keyframes], rtol=0, atol=0)
        torch.testing.assert_close(frame.c, labels[keyframes])
    torch.testing.assert_close(frames[7].c.sum(dim=1), torch.ones(2))


def test_positions_run_from_end_to_end_or_there_and_back():
    assert positions(3, there_and_back=False).tolist() == [0, 0.5, 1]
    back = positions(4, there_and_back=True)
    np.testing.assert_allclose(back, [0, 0.5, 1, 0.5], atol=1e-12)


def test_truncation_is_swept():
    frames = list(sweep_truncation(z_of_ones(2), torch.zeros(2, 0), np.array([0, 0.5, 1])))
    assert [frame.psi for frame in frames] == [0, 0.5, 1]


def test_a_direction_is_walked_in_standard_deviations():
    found = Directions(space='z', vectors=torch.eye(3), deviations=torch.tensor([2.0, 1, 1]))
    base = z_of_ones(2)
    frames = list(sweep_direction(base, torch.zeros(2, 0), found, 0, np.array([-3.0, 0, 3])))
    assert frames[1].points.equal(base.points)
    assert (frames[2].points - base.points).tolist() == [[6, 0, 0], [6, 0, 0]]
    with pytest.raises(ConfigError, match='directions 0 to 2'):
        next(sweep_direction(base, torch.zeros(2, 0), found, 3, np.array([0.0])))


def test_noise_turns_on_a_circle_of_constant_variance_and_returns():
    G = tiny_G()
    first = {name: buffer.clone() for name, buffer in G.named_buffers() if name.endswith('noise_const')}
    frames = list(sweep_noise(z_of_ones(1), torch.zeros(1, 0), 8))
    assert [frame.angle for frame in frames[:3]] == [0, math.pi / 4, math.pi / 2]
    circle = NoiseCircle(G, seed=1)
    circle.turn(1.0)
    largest = max(first, key=lambda name: first[name].numel())
    turned = dict(G.named_buffers())[largest]
    assert not turned.equal(first[largest])
    assert turned.std().item() == pytest.approx(first[largest].std().item(), rel=0.2)
    circle.turn(0.0)
    assert all(buffer.equal(first[name]) for name, buffer in G.named_buffers() if name in first)


def test_a_network_without_noise_says_so():
    with pytest.raises(ConfigError, match='has no noise inputs'):
        NoiseCircle(torch.nn.Linear(1, 1), seed=0)
