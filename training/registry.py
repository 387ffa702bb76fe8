"""The registries of a run: recipes by `--cfg` name, and the generators and discriminators that they configure.

Losses register in `training/objective/losses.py`, terms in `training/objective/term.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dnnlib.registry import Registry

if TYPE_CHECKING:
    import torch

    from training.config import RunConfig
    from training.interface import ImageSpec

T = TypeVar('T', bound=type)
Make = TypeVar('Make', bound='Callable[[ImageSpec, int], RunConfig]')


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """A network that a config describes.

    name: the `kind` in the record of a run.
    config: frozen dataclass of its options.
    build: function of (config, facts) that returns the network.
    """

    name: str
    config: type
    build: Callable[[Any, ImageSpec], torch.nn.Module]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A function that makes a complete run config from the facts of a data set.

    name: its `--cfg` name.
    paper: source of the architecture and the numbers, one line.
    make: function of (facts, number of GPUs) that returns the config.
    min_resolution: resolution of the smallest images that it draws.
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


def register_generator(name: str, *, config: type) -> Callable[[T], T]:
    """Registers a class as the generator that `config` describes. The class is called with (config, facts)."""
    return _register_network(GENERATORS, name, config)


def register_discriminator(name: str, *, config: type) -> Callable[[T], T]:
    """Registers a class as the discriminator that `config` describes. The class is called with (config, facts)."""
    return _register_network(DISCRIMINATORS, name, config)


def _register_network(registry: Registry[Architecture], name: str, config: type) -> Callable[[T], T]:
    """Returns the class decorator.

    Args:
        registry: Registry of generators or of discriminators.
        name: The `kind` in the record of a run.
        config: Frozen dataclass of the network's options.
    """

    def decorate(cls: T) -> T:
        registry.register(name, Architecture(name=name, config=config, build=cls), module=cls.__module__)
        return cls

    return decorate


def register_recipe(name: str, *, paper: str, min_resolution: int = 4) -> Callable[[Make], Make]:
    """Registers a function as the recipe `--cfg=name`.

    Args:
        name: Value of `--cfg`.
        paper: Source of the architecture and the numbers, one line.
        min_resolution: Resolution of the smallest images that it draws.

    Returns:
        A decorator of a function that takes (facts, number of GPUs) and returns a complete RunConfig.
    """

    def decorate(make: Make) -> Make:
        recipe = Recipe(name=name, paper=paper, make=make, min_resolution=min_resolution)
        RECIPES.register(name, recipe, module=make.__module__)
        return make

    return decorate


def architecture_of(registry: Registry[Architecture], config: object) -> Architecture:
    """Returns the architecture whose config class `config` is an instance of."""
    for name in registry.names():
        if registry.get(name).config is type(config):
            return registry.get(name)
    raise TypeError(f'{type(config).__name__} belongs to no registered {registry.kind}')
