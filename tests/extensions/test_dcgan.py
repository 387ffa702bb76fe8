"""DCGAN: the initialization of its weights."""

from __future__ import annotations

from tests.extensions.test_giu import spec
from torch_utils.seeding import seed_torch
from training.build import build_networks
from training.registry import RECIPES


def test_dcgan_draws_its_weights_from_a_narrow_normal() -> None:
    seed_torch(0, 'test')
    for net in build_networks(RECIPES.get('dcgan').make(spec(), 1), spec()):
        weights = [p for name, p in net.named_parameters() if name.endswith('conv.weight')]
        assert len(weights) == 3
        for weight in weights:
            assert abs(float(weight.detach().std()) - 0.02) < 0.001
