"""The registries of a run: recipes by `--cfg` name, and the generators and discriminators that they configure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dnnlib.registry import Registry

if TYPE_CHECKING:
    import torch

    from training.config import RunConfig
    from training.interface import ImageSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """A network that a config builds.

    name: the `kind` that a run's record states. config: its frozen dataclass. build: (config, facts) -> network.
    """

    name: str
    config: type
    build: Callable[[Any, ImageSpec], torch.nn.Module]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A named way to make a complete run config from the facts of a data set.

    paper: where the architecture and the numbers come from, one line.
    make: (facts, num_gpus) -> RunConfig. min_resolution: the smallest images that it can draw, in pixels.
    """

    name: str
    paper: str
    make: Callable[[ImageSpec, int], RunConfig]
    min_resolution: int = 4


GENERATORS: Registry[Architecture] = Registry('generator')
DISCRIMINATORS: Registry[Architecture] = Registry('discriminator')
RECIPES: Registry[Recipe] = Registry(
    '--cfg', builtin=('training.recipes',), packages=('extensions',), entry_points='ganfoundry.recipes'
)


def register_generator(name: str, *, config: type) -> Callable:
    """Class decorator: a generator that `config` describes. The class is called with (config, facts)."""
    return _register_network(GENERATORS, name, config)


def register_discriminator(name: str, *, config: type) -> Callable:
    """Class decorator: a discriminator that `config` describes. The class is called with (config, facts)."""
    return _register_network(DISCRIMINATORS, name, config)


def _register_network(registry: Registry[Architecture], name: str, config: type) -> Callable:
    def decorate(cls: type) -> type:
        registry.register(name, Architecture(name=name, config=config, build=cls), module=cls.__module__)
        return cls

    return decorate


def register_recipe(name: str, *, paper: str, min_resolution: int = 4) -> Callable:
    """Function decorator: `--cfg=name`. The function takes (facts, num_gpus) and returns a complete RunConfig."""

    def decorate(make: Callable) -> Callable:
        recipe = Recipe(name=name, paper=paper, make=make, min_resolution=min_resolution)
        RECIPES.register(name, recipe, module=make.__module__)
        return make

    return decorate


def architecture_of(registry: Registry[Architecture], config: Any) -> Architecture:
    """The architecture that a config instance belongs to."""
    for name in registry.names():
        if registry.get(name).config is type(config):
            return registry.get(name)
    raise TypeError(f'{type(config).__name__} belongs to no registered {registry.kind}')
