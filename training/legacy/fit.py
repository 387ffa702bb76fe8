"""Our networks that are equivalent to official ones: their facts, configs and tensors."""

from __future__ import annotations

import functools
import typing
from dataclasses import dataclass
from typing import Any

import torch

from dnnlib import config as typed
from dnnlib.errors import CheckpointError, ConfigError
from torch_utils.checkpoint import Tensors
from training.interface import ImageSpec
from training.legacy.reader import plain
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig

_LARGEST = {'map_depth': 64}  # limits of arguments, so that a network of a billion layers is not built
_LARGEST_OTHER = 2**20
FIR_LENGTH = 4  # our layers pad for this length; the taps are loaded with the weights
# Compiles the annotations. StyleGAN2's are resolved at import, so that nothing is compiled while a file is read.
_hints_of = functools.cache(typing.get_type_hints)
for _cls in (StyleGAN2GeneratorConfig, StyleGAN2DiscriminatorConfig):
    _hints_of(_cls)


@dataclass(frozen=True, slots=True)
class OfficialNetwork:
    """One network of an official file, translated. The first three fields are those of the file."""

    class_name: str
    kwargs: dict[str, Any]
    source_sha256: str
    config: Any
    spec: ImageSpec
    tensors: Tensors


def make_spec(given: dict[str, Any], num_images: int, where: str) -> ImageSpec:
    """Returns the facts from arguments.

    Args:
        given: Arguments under their official names.
        num_images: Number of images in the data set.
        where: Name of the network in messages.

    Raises:
        CheckpointError: A size is not a size.
    """
    sizes = {'resolution': 'img_resolution', 'channels': 'img_channels', 'label_dim': 'c_dim'}
    values: dict[str, int] = {}
    for name, official in sizes.items():
        value = given.get(official)
        if type(value) is not int or not (0 if name == 'label_dim' else 1) <= value <= 2**16:
            raise CheckpointError(f'{where}: made with {sizes[name]}={value!a:.80}, which is not a size')
        values[name] = value
    return ImageSpec(
        num_images=num_images,
        resolution=values['resolution'],
        channels=values['channels'],
        label_dim=values['label_dim'],
    )


def make_config(cls: type, values: dict[str, Any], optional: dict[str, Any], where: str) -> Any:
    """Returns a config.

    Args:
        cls: Class of the config.
        values: Fields of the config; None takes our default.
        optional: Further fields, for which None is a valid value.
        where: Name of the network in messages.

    Raises:
        CheckpointError: A value is too large or not accepted.
    """
    known = {name: value for name, value in values.items() if value is not None} | optional
    for name, value in known.items():
        if type(value) is int and value > _LARGEST.get(name, _LARGEST_OTHER):
            raise CheckpointError(f'{where}: made with {name}={value}, more than {_LARGEST.get(name, _LARGEST_OTHER)}')
    hints = _hints_of(cls)
    try:
        return cls(**{name: typed.parse(hints[name], plain(value, where), name) for name, value in known.items()})
    except ConfigError as error:
        raise CheckpointError(f'{where}: made with arguments that no network here takes: {error}') from None


def check_fit(build: Any, config: Any, spec: ImageSpec, tensors: Tensors, where: str) -> None:
    """Checks that tensors are the parameters and buffers of a network, one for one.

    Args:
        build: Class of our network.
        config: Config of our network.
        spec: Facts of the data set.
        tensors: Tensors by their names in our network.
        where: Name of the network in messages.

    Raises:
        CheckpointError: They are not.
    """
    own = shapes_of(build, config, spec, where)
    lines = [f'{name} is missing' for name in own if name not in tensors]
    lines += [f'{name} is unknown' for name in tensors if name not in own]
    lines += [
        f'{name} is {list(t.shape)} {t.dtype}, expected {list(own[name].shape)} {own[name].dtype}'
        for name, t in tensors.items()
        if name in own and (t.shape, t.dtype) != (own[name].shape, own[name].dtype)
    ]
    if lines:
        more = f', and {len(lines) - 5} more' if len(lines) > 5 else ''
        raise CheckpointError(f'{where}: its tensors do not fit its arguments: {"; ".join(lines[:5])}{more}')


def shapes_of(build: Any, config: Any, spec: ImageSpec, where: str) -> Tensors:
    """Returns our network's parameters and buffers as meta tensors.

    Args:
        build: Class of our network.
        config: Config of our network.
        spec: Facts of the data set.
        where: Name of the network in messages.

    Raises:
        CheckpointError: There is no such network.
    """
    try:
        with torch.device('meta'):
            tensors: Tensors = build(config, spec).state_dict()
    except (ConfigError, RuntimeError) as error:  # RuntimeError: sizes that multiply beyond 64 bits
        raise CheckpointError(f'{where}: made with arguments that no network here takes: {error}') from None
    return tensors
