"""Random weights: a function of the names of the tensors, with activations that keep their scale."""

import torch
from torch import nn

from metrics.detectors.random_weights import random_weights


def deep():
    return nn.Sequential(*[layer for _ in range(6) for layer in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())])


def test_each_tensor_depends_on_its_name_and_shape_alone():
    first = random_weights(lambda: nn.ModuleDict({'a': nn.Linear(3, 4), 'b': nn.Linear(3, 4)}))
    second = random_weights(lambda: nn.ModuleDict({'b': nn.Linear(3, 4)}))
    assert torch.equal(first['b.weight'], second['b.weight'])
    assert not torch.equal(first['a.weight'], first['b.weight'])


def test_activations_keep_their_scale_through_the_depth():
    network = deep()
    network.load_state_dict(random_weights(deep))
    x = torch.randn(4, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        scale = float(network(x).square().mean().sqrt())
    assert 0.3 < scale < 3


def test_variances_are_positive_and_counters_zero():
    found = random_weights(lambda: nn.BatchNorm2d(50))
    assert found['running_var'].min() >= 0.5
    assert found['num_batches_tracked'] == 0
