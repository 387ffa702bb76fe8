"""Sizes of networks: those of the networks that are built, labels and images that are not square included."""

from __future__ import annotations

import torch

from torch_utils.macs import count_macs
from torch_utils.summary import count
from training.build import build_networks
from training.interface import ImageSpec
from training.registry import RECIPES
from training.sizes import NetworkSize, network_sizes


def test_sizes_are_those_of_the_networks_on_any_device() -> None:
    spec = ImageSpec(resolution=32, channels=4, label_dim=3, num_images=1, base=(4, 6))
    cfg = RECIPES.get('squeeze').make(spec, 1)
    G, D = build_networks(cfg, spec)
    z, c, img = torch.zeros(1, G.z_dim), torch.zeros(1, 3), torch.zeros(1, 4, 32, 48)
    assert network_sizes(cfg, spec) == {
        'G': NetworkSize(parameters=count(G)[0], macs=count_macs(G, z, c)),
        'D': NetworkSize(parameters=count(D)[0], macs=count_macs(D, img, c)),
    }
