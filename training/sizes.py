"""Sizes of the networks of a run: parameters, and multiply-adds of one image. Nothing is computed but shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from torch_utils.macs import count_macs
from torch_utils.summary import count
from training.build import build_networks
from training.config import RunConfig
from training.interface import ImageSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSize:
    """Size of one network. macs: multiply-adds of the forward pass of one image, see `torch_utils.macs`."""

    parameters: int
    macs: int


def network_sizes(cfg: RunConfig, spec: ImageSpec) -> dict[str, NetworkSize]:
    """Returns the sizes of G and D, {'G': ..., 'D': ...}. Raises ConfigError if the networks cannot be built."""
    with torch.device('meta'):
        networks = build_networks(cfg, spec)
    return {
        name: NetworkSize(parameters=count(net)[0], macs=macs)
        for name, net, macs in zip('GD', networks, macs_of(*networks, spec), strict=True)
    }


def macs_of(G: Any, D: torch.nn.Module, spec: ImageSpec) -> tuple[int, int]:
    """Returns the multiply-adds of G's and D's forward pass of one image."""
    with torch.device('meta'):
        z, c = torch.empty([1, G.z_dim]), torch.empty([1, spec.label_dim])
        img = torch.empty([1, spec.channels, spec.height, spec.width])
    return count_macs(G, z, c), count_macs(D, img, c)
