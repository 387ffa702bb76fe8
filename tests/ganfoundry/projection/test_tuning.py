"""Pivotal tuning: the target comes nearer, other images hardly move, and the limit of the drift holds."""

import pytest
import torch

from ganfoundry.projection import tuning
from ganfoundry.projection.perceptual import Distance
from ganfoundry.projection.spaces import statistics_of
from ganfoundry.projection.tuning import Pivot, Tuning
from tests.ganfoundry.projection.conftest import NO_LABEL


@pytest.fixture
def pivot(peeps, monkeypatch):
    """An image that the network does not draw, and a sample as its pivot."""
    monkeypatch.setattr(tuning, 'NUM_WITNESSES', 8)
    G = peeps.module
    with torch.no_grad():
        ws = G.mapping(peeps.latents([5]), NO_LABEL)
        target = G.synthesis(ws, noise_mode='const').flip(3)
    return Pivot(ws=ws, target=target, c=NO_LABEL, statistics=statistics_of(G, NO_LABEL))


def tuned(peeps, pivot, quick, max_drift, num_steps=30):
    made = Tuning(peeps.module, pivot, Distance(network=quick, weight=1), max_drift=max_drift, seed=0)
    return made, list(made.run(num_steps))


def test_the_target_comes_nearer_and_the_given_network_stays(peeps, pivot, quick):
    before = {name: value.clone() for name, value in peeps.module.state_dict().items()}
    made, steps = tuned(peeps, pivot, quick, max_drift=1)
    assert float(steps[-1].parts.mse) < float(steps[0].parts.mse) / 2  # 3 dB
    assert made.drift == steps[-1].drift > 0
    after = made.G.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in peeps.module.state_dict().items())
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith('mapping.'))
    assert not any(parameter.requires_grad for parameter in made.G.parameters())


def test_the_tuning_ends_before_the_limit_of_the_drift(peeps, pivot, quick):
    _, free = tuned(peeps, pivot, quick, max_drift=1, num_steps=20)
    drifts = [step.drift for step in free if step.drift is not None]
    assert drifts[0] == 0
    limit = (drifts[1] + drifts[2]) / 2
    made, steps = tuned(peeps, pivot, quick, max_drift=limit, num_steps=20)
    assert len(steps) < len(free)
    assert made.drift == drifts[1] <= limit


def test_a_tuning_that_is_left_keeps_the_last_measured_state(peeps, pivot, quick):
    made = Tuning(peeps.module, pivot, Distance(network=quick, weight=1), max_drift=1, seed=0)
    steps = made.run(30)
    for _ in range(13):
        next(steps)
    steps.close()
    assert made.drift > 0
    assert not any(parameter.requires_grad for parameter in made.G.parameters())
