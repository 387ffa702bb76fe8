"""Networks for tests of exports: narrow, with no number at its initial value that hides a fault."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

import ganfoundry as gf
from tests.support.narrow import make_snapshot
from tests.support.recipes import own_recipes
from training.interface import ImageSpec
from training.registry import RECIPES

SMALLEST = 8  # resolution of the networks, unless the recipe needs more


def one_per_generator() -> list[str]:
    """Returns the first recipe of each generator class, sorted."""
    found: dict[type, str] = {}
    for name in own_recipes():
        found.setdefault(type(RECIPES.get(name).make(spec_of(name), 1).generator), name)
    return sorted(found.values())


def spec_of(name: str, **facts: int) -> ImageSpec:
    """Returns the facts of the smallest images of a recipe."""
    resolution = max(SMALLEST, RECIPES.get(name).min_resolution)
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=64)
    return dataclasses.replace(spec, **facts)


def network_of(path: Path, name: str, **facts: int) -> gf.Network:
    """Writes and loads a narrow snapshot, and moves its weights and statistics off their initial values.

    Args:
        path: The snapshot.
        name: Name of the recipe.
        **facts: Fields of `ImageSpec` other than the defaults of `spec_of`.
    """
    network = gf.load(make_snapshot(path, name, spec_of(name, **facts)), device='cpu')
    disturb(network.module)
    return network


@torch.no_grad()
def disturb(G: torch.nn.Module) -> None:
    """Adds noise to parameters that begin at zero or one value, to running statistics, and to the mean of w."""
    draws = torch.Generator().manual_seed(1)
    for name, values in (*G.named_parameters(), *G.named_buffers()):
        last = name.split('.')[-1]
        if last in ('running_mean', 'w_avg') or (isinstance(values, torch.nn.Parameter) and not values.any()):
            values += 0.1 * torch.randn(values.shape, generator=draws)
        elif last == 'running_var':
            values *= 0.5 + torch.rand(values.shape, generator=draws)
