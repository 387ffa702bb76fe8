"""Official PyTorch networks as ours: which class they are, which of our configs says the same, and their tensors.

An official network is described twice, by the arguments that it was made with and by the attributes of its layers.
Arguments that are absent had defaults that differ between StyleGAN2-ADA, StyleGAN3 and converted files; what the layers
say is then taken, and our own defaults only where they say nothing.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

import torch

from dnnlib import config as typed
from dnnlib.errors import CheckpointError, ConfigError
from torch_utils.checkpoint import Tensors
from training.interface import ImageSpec
from training.legacy.reader import Module, arguments, plain, state_dict
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.networks.discriminator import StyleGAN2Discriminator
from training.networks.stylegan2 import StyleGAN2Generator

# embed_features and layer_features decide shapes alone, which the tensors must have anyway.
_MAPPING = {'num_layers', 'embed_features', 'layer_features', 'activation', 'lr_multiplier', 'w_avg_beta'}
_BLOCKS = {'architecture', 'channel_base', 'channel_max', 'num_fp16_res', 'conv_clamp'}
# Accepted with one value, which is what our layers do, or where the value decides nothing that we keep.
_LAYERS = {'activation', 'resample_filter', 'use_noise', 'kernel_size', 'fp16_channels_last', 'channels_last',
          'fused_modconv_default', 'freeze_layers'}  # fmt: skip
_FACTS = {'z_dim', 'c_dim', 'w_dim', 'img_resolution', 'img_channels'}
_LARGEST = {'map_depth': 64}  # of an argument; a network of a billion layers is not even counted
_LARGEST_OTHER = 2**20
FIR_LENGTH = 4  # our layers pad for filters of this length; the taps are loaded with the weights

# Resolved at import: annotations are compiled for it, and nothing is compiled while a file is read.
_HINTS: dict[type, dict[str, Any]] = {
    cls: typing.get_type_hints(cls) for cls in (StyleGAN2GeneratorConfig, StyleGAN2DiscriminatorConfig)
}

_FOREIGN = {
    'SuperresGenerator': 'a StyleGAN-XL generator',
    'ProjectedDiscriminator': 'a StyleGAN-XL discriminator',
}


@dataclass(frozen=True, slots=True)
class Network:
    """One network of an official file, in our terms. class_name, kwargs, source_sha256: what the file says."""

    class_name: str
    kwargs: dict[str, Any]
    source_sha256: str
    config: Any
    spec: ImageSpec
    tensors: Tensors


def read_generator(module: Module, where: str, num_images: int = 1) -> Network:
    """A StyleGAN2 generator. CheckpointError says what it is when it is another; num_images goes into the facts."""
    kwargs = _described(module, 'Generator', where)
    synthesis = _part(module, 'synthesis')
    if _part(synthesis, 'input') is not None:
        raise CheckpointError(
            f'{where}: a StyleGAN3 generator (configuration T or R); of StyleGAN3 only --cfg=stylegan2 can be read here'
        )
    given = _flattened(kwargs, ('synthesis_kwargs',), _FACTS | _BLOCKS | _LAYERS, where)
    mapping = _group(kwargs, 'mapping_kwargs', _MAPPING, where)
    _check_fixed({**given, 'mapping activation': mapping.get('activation', 'lrelu')}, where)
    inner, first = _part(module, 'mapping'), _part(synthesis, 'b4', 'conv1')
    values = {
        'z_dim': given.get('z_dim'),
        'w_dim': given.get('w_dim'),
        'map_depth': mapping.get('num_layers', _attribute(inner, 'num_layers')),
        'map_lr_multiplier': mapping.get('lr_multiplier', _attribute(_part(inner, 'fc0'), 'bias_gain')),
        'w_avg_beta': mapping.get('w_avg_beta', _attribute(inner, 'w_avg_beta')),
        'architecture': given.get('architecture', _attribute(_part(synthesis, 'b4'), 'architecture')),
        **_widths(given),
        'num_fp16_res': given.get('num_fp16_res', _lowered(synthesis)),
    }
    config = make_config(StyleGAN2GeneratorConfig, values, _clamp(given, first), where)
    spec = make_spec(given, num_images, where)
    return _loaded(StyleGAN2Generator, config, spec, module, kwargs, where)


def read_discriminator(module: Module, where: str, num_images: int = 1) -> Network:
    """A StyleGAN2 discriminator; as `read_generator`."""
    kwargs = _described(module, 'Discriminator', where)
    given = _flattened(kwargs, ('block_kwargs',), _FACTS | _BLOCKS | _LAYERS | {'cmap_dim'}, where)
    mapping = _group(kwargs, 'mapping_kwargs', _MAPPING, where)
    epilogue = _group(kwargs, 'epilogue_kwargs', {'mbstd_group_size', 'mbstd_num_channels', 'activation'}, where)
    _check_fixed(given, where)
    for part in (mapping, epilogue):
        _check_fixed({'activation': part.get('activation', 'lrelu')}, where)
    spec = make_spec(given, num_images, where)
    top = _part(module, f'b{spec.resolution}')
    inner, std = _part(module, 'mapping'), _part(module, 'b4', 'mbstd')
    values = {
        'architecture': given.get('architecture', _attribute(top, 'architecture')),
        'cmap_dim': given.get('cmap_dim'),
        **_widths(given),
        'num_fp16_res': given.get('num_fp16_res', _lowered(module)),
        'map_depth': mapping.get('num_layers', _attribute(inner, 'num_layers')),
        'map_lr_multiplier': mapping.get('lr_multiplier', _attribute(_part(inner, 'fc0'), 'bias_gain')),
    }
    optional = _clamp(given, _part(top, 'conv0'))
    if 'mbstd_group_size' in epilogue or std is not None:  # None is a value: the whole batch
        optional['mbstd_group'] = epilogue.get('mbstd_group_size', _attribute(std, 'group_size'))
    # Without minibatch standard deviation there is no such layer, and num_channels 0 is in the arguments.
    values['mbstd_channels'] = epilogue.get('mbstd_num_channels', _attribute(std, 'num_channels'))
    config = make_config(StyleGAN2DiscriminatorConfig, values, optional, where)
    return _loaded(StyleGAN2Discriminator, config, spec, module, kwargs, where)


def _described(module: Any, wanted: str, where: str) -> dict[str, Any]:
    """The arguments of a module of the class `wanted`; CheckpointError for others, by their name."""
    if not isinstance(module, Module):
        raise CheckpointError(f'{where}: no network, but {type(module).__name__}; expected a StyleGAN2 {wanted}')
    if module.class_name != wanted:
        name = ascii(module.class_name)[1:-1][:80]
        what = _FOREIGN.get(module.class_name, f'an object of the class {name}')
        raise CheckpointError(
            f'{where}: {what}; expected the {wanted} of StyleGAN2-ADA or of StyleGAN3 --cfg=stylegan2'
        )
    return arguments(module, where)


def _part(module: Any, *names: str) -> Module | None:
    """A module inside another, None where there is none."""
    for name in names:
        table = module.state.get('_modules') if isinstance(module, Module) else None
        module = table.get(name) if type(table) is dict else None
    return module if isinstance(module, Module) else None


def _attribute(module: Module | None, name: str) -> Any:
    """A plain attribute of a layer, None where it has none."""
    value = None if module is None else module.state.get(name)
    return value if type(value) in (bool, int, float, str) else None


def _flattened(kwargs: dict[str, Any], groups: tuple[str, ...], known: set[str], where: str) -> dict[str, Any]:
    """Arguments and those in `groups` as one table: StyleGAN3 gives synthesis_kwargs at the top."""
    own = {name: value for name, value in kwargs.items() if not name.endswith('_kwargs')}
    unknown = {name for name in kwargs if name.endswith('_kwargs')} - {*groups, 'mapping_kwargs', 'epilogue_kwargs'}
    for group in groups:
        own |= _group(kwargs, group, known, where)
    unknown |= set(own) - known
    if unknown:
        raise CheckpointError(f'{where}: made with {", ".join(sorted(map(ascii, unknown)))}, which is not known here')
    return own


def _group(kwargs: dict[str, Any], name: str, known: set[str], where: str) -> dict[str, Any]:
    group = kwargs.get(name) or {}
    if type(group) is not dict or set(group) - known:
        raise CheckpointError(f'{where}: {name}={group!a:.200}; known are {", ".join(sorted(known))}')
    return group


def _check_fixed(given: dict[str, Any], where: str) -> None:
    """CheckpointError for a layer that ours is not."""
    for name, value in given.items():
        wrong = (
            (name.endswith('activation') and value != 'lrelu')
            or (name == 'use_noise' and value is not True)
            or (name == 'kernel_size' and value != 3)
            or (name == 'resample_filter' and (type(value) is not list or len(value) != FIR_LENGTH))
        )
        if wrong:
            raise CheckpointError(f'{where}: made with {name}={value!a:.80}, which no network here has')


def _widths(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given.get(name) for name in ('channel_base', 'channel_max')}


def _clamp(given: dict[str, Any], layer: Module | None) -> dict[str, Any]:
    """conv_clamp, for which None is a value: unbounded."""
    if 'conv_clamp' in given:
        return {'conv_clamp': given['conv_clamp']}
    return {} if layer is None or 'conv_clamp' not in layer.state else {'conv_clamp': layer.state['conv_clamp']}


def _lowered(parent: Module | None) -> int | None:
    """How many of the blocks computed in float16."""
    blocks = parent.state.get('_modules') if parent is not None else None
    flags = [_attribute(block, 'use_fp16') for block in blocks.values()] if type(blocks) is dict else []
    return None if all(flag is None for flag in flags) else sum(flag is True for flag in flags)


def make_spec(given: dict[str, Any], num_images: int, where: str) -> ImageSpec:
    """The facts from arguments under their official names; CheckpointError for what is no size."""
    sizes = {'resolution': 'img_resolution', 'channels': 'img_channels', 'label_dim': 'c_dim'}
    values: dict[str, int] = {}
    for name, official in sizes.items():
        value = given.get(official)
        if type(value) is not int or not (0 if name == 'label_dim' else 1) <= value <= 2**16:
            raise CheckpointError(f'{where}: made with {sizes[name]}={value!a:.80}, which is no size')
        values[name] = value
    return ImageSpec(
        num_images=num_images,
        resolution=values['resolution'],
        channels=values['channels'],
        label_dim=values['label_dim'],
    )


def make_config(cls: type, values: dict[str, Any], optional: dict[str, Any], where: str) -> Any:
    """The config of these values; absent ones (None) take our defaults, those in `optional` may be None."""
    known = {name: value for name, value in values.items() if value is not None} | optional
    for name, value in known.items():
        if type(value) is int and value > _LARGEST.get(name, _LARGEST_OTHER):
            raise CheckpointError(f'{where}: made with {name}={value}, more than {_LARGEST.get(name, _LARGEST_OTHER)}')
    hints = _HINTS[cls]
    try:
        return cls(**{name: typed.parse(hints[name], plain(value, where), name) for name, value in known.items()})
    except ConfigError as error:
        raise CheckpointError(f'{where}: made with arguments that no network here takes: {error}') from None


def _loaded(build: Any, config: Any, spec: ImageSpec, module: Module, kwargs: dict[str, Any], where: str) -> Network:
    """The network's tensors, held against ours: every one of the same name, shape and type."""
    tensors = state_dict(module, where)
    check_fit(build, config, spec, tensors, where)
    return Network(module.class_name, kwargs, module.source_sha256, config, spec, tensors)


def check_fit(build: Any, config: Any, spec: ImageSpec, tensors: Tensors, where: str) -> None:
    """CheckpointError unless `tensors` are the parameters and buffers of this network, one for one."""
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
    """Our network's parameters and buffers, without memory behind them."""
    try:
        with torch.device('meta'):
            tensors: Tensors = build(config, spec).state_dict()
    except (ConfigError, RuntimeError) as error:  # RuntimeError: sizes that multiply beyond 64 bits
        raise CheckpointError(f'{where}: made with arguments that no network here takes: {error}') from None
    return tensors
