"""Translation of official PyTorch networks to ours: class, equivalent config, tensors.

An official network is described twice, by the arguments of its constructor and by the attributes of its layers. The
defaults of absent arguments differ between StyleGAN2-ADA, StyleGAN3 and converted files. The attributes of the layers
replace them, and our own defaults apply only if there is no such attribute.
"""

from __future__ import annotations

from typing import Any

from dnnlib.errors import CheckpointError
from training.interface import ImageSpec
from training.legacy.fit import FIR_LENGTH, OfficialNetwork, check_fit, make_config, make_spec
from training.legacy.module import Module
from training.legacy.reader import arguments, state_dict
from training.legacy.stylegan3 import is_stylegan3, read_stylegan3
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.networks.discriminator import StyleGAN2Discriminator
from training.networks.stylegan2 import StyleGAN2Generator

# embed_features and layer_features decide only shapes, which the tensors must have anyway.
_MAPPING = {'num_layers', 'embed_features', 'layer_features', 'activation', 'lr_multiplier', 'w_avg_beta'}
_BLOCKS = {'architecture', 'channel_base', 'channel_max', 'num_fp16_res', 'conv_clamp'}
# Accepted with the one value that our layers implement, or with any value if it has no effect on our networks.
_LAYERS = {'activation', 'resample_filter', 'use_noise', 'kernel_size', 'fp16_channels_last', 'channels_last',
          'fused_modconv_default', 'freeze_layers'}  # fmt: skip
_FACTS = {'z_dim', 'c_dim', 'w_dim', 'img_resolution', 'img_channels'}

_FOREIGN = {
    'SuperresGenerator': 'a StyleGAN-XL generator',
    'ProjectedDiscriminator': 'a StyleGAN-XL discriminator',
}


def read_generator(module: Module, where: str, num_images: int = 1) -> OfficialNetwork:
    """Translates a StyleGAN2 or StyleGAN3 generator.

    Args:
        module: Generator of the file.
        where: Name of the generator in messages.
        num_images: Number of images in the data set, for the facts.

    Raises:
        CheckpointError: It is another kind of network, or ours cannot be equivalent.
    """
    kwargs = _described(module, 'Generator', where)
    if is_stylegan3(module):
        return read_stylegan3(module, kwargs, where, num_images)
    synthesis = _part(module, 'synthesis')
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


def read_discriminator(module: Module, where: str, num_images: int = 1) -> OfficialNetwork:
    """Translates a StyleGAN2 discriminator.

    Args:
        module: Discriminator of the file.
        where: Name of the discriminator in messages.
        num_images: Number of images in the data set, for the facts.

    Raises:
        CheckpointError: It is another kind of network, or ours cannot be equivalent.
    """
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
    if 'mbstd_group_size' in epilogue or std is not None:  # None is a valid value: the whole batch
        optional['mbstd_group'] = epilogue.get('mbstd_group_size', _attribute(std, 'group_size'))
    # Without minibatch standard deviation there is no such layer, and the arguments have num_channels 0.
    values['mbstd_channels'] = epilogue.get('mbstd_num_channels', _attribute(std, 'num_channels'))
    config = make_config(StyleGAN2DiscriminatorConfig, values, optional, where)
    return _loaded(StyleGAN2Discriminator, config, spec, module, kwargs, where)


def _described(module: Any, wanted: str, where: str) -> dict[str, Any]:
    """Returns the arguments of a module of a class.

    Args:
        module: Object of the file.
        wanted: Name of the class.
        where: Name of the object in messages.

    Raises:
        CheckpointError: The object is not a module, or has another class.
    """
    if not isinstance(module, Module):
        raise CheckpointError(f'{where}: no network, but {type(module).__name__}; expected a StyleGAN2 {wanted}')
    if module.class_name != wanted:
        name = ascii(module.class_name)[1:-1][:80]
        what = _FOREIGN.get(module.class_name, f'an object of the class {name}')
        raise CheckpointError(f'{where}: {what}; expected the {wanted} of StyleGAN2-ADA or StyleGAN3')
    return arguments(module, where)


def _part(module: Any, *names: str) -> Module | None:
    """Returns a module inside another by its path, or None if there is none."""
    for name in names:
        table = module.state.get('_modules') if isinstance(module, Module) else None
        module = table.get(name) if type(table) is dict else None
    return module if isinstance(module, Module) else None


def _attribute(module: Module | None, name: str) -> Any:
    """Returns a plain attribute of a layer, or None if it has none."""
    value = None if module is None else module.state.get(name)
    return value if type(value) in (bool, int, float, str) else None


def _flattened(kwargs: dict[str, Any], groups: tuple[str, ...], known: set[str], where: str) -> dict[str, Any]:
    """Returns arguments and those in groups as one table: StyleGAN3 gives synthesis_kwargs at the top.

    Args:
        kwargs: Arguments of the network.
        groups: Names of the groups to include.
        known: Names of the known arguments.
        where: Name of the network in messages.

    Raises:
        CheckpointError: An argument is unknown.
    """
    own = {name: value for name, value in kwargs.items() if not name.endswith('_kwargs')}
    unknown = {name for name in kwargs if name.endswith('_kwargs')} - {*groups, 'mapping_kwargs', 'epilogue_kwargs'}
    for group in groups:
        own |= _group(kwargs, group, known, where)
    unknown |= set(own) - known
    if unknown:
        raise CheckpointError(f'{where}: made with {", ".join(sorted(map(ascii, unknown)))}, which is not known here')
    return own


def _group(kwargs: dict[str, Any], name: str, known: set[str], where: str) -> dict[str, Any]:
    """Returns a group of arguments.

    Args:
        kwargs: Arguments of the network.
        name: Name of the group.
        known: Names of the known arguments.
        where: Name of the network in messages.

    Raises:
        CheckpointError: An argument is unknown.
    """
    group = kwargs.get(name) or {}
    if type(group) is not dict or set(group) - known:
        raise CheckpointError(f'{where}: {name}={group!a:.200}; known are {", ".join(sorted(known))}')
    return group


def _check_fixed(given: dict[str, Any], where: str) -> None:
    """Raises CheckpointError for an argument that changes a layer in a way that ours do not implement."""
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
    """Returns the arguments that decide the numbers of channels."""
    return {name: given.get(name) for name in ('channel_base', 'channel_max')}


def _clamp(given: dict[str, Any], layer: Module | None) -> dict[str, Any]:
    """Returns conv_clamp, for which None is a valid value: unbounded."""
    if 'conv_clamp' in given:
        return {'conv_clamp': given['conv_clamp']}
    return {} if layer is None or 'conv_clamp' not in layer.state else {'conv_clamp': layer.state['conv_clamp']}


def _lowered(parent: Module | None) -> int | None:
    """Returns the number of blocks in float16, or None if it is unknown."""
    blocks = parent.state.get('_modules') if parent is not None else None
    flags = [_attribute(block, 'use_fp16') for block in blocks.values()] if type(blocks) is dict else []
    return None if all(flag is None for flag in flags) else sum(flag is True for flag in flags)


def _loaded(
    build: Any, config: Any, spec: ImageSpec, module: Module, kwargs: dict[str, Any], where: str
) -> OfficialNetwork:
    """Returns a network whose tensors were compared with ours: the same names, shapes and types.

    Args:
        build: Class of our network.
        config: Config of our network.
        spec: Facts of the data set.
        module: Network of the file.
        kwargs: Arguments of the network of the file.
        where: Name of the network in messages.

    Raises:
        CheckpointError: The tensors do not fit.
    """
    tensors = state_dict(module, where)
    check_fit(build, config, spec, tensors, where)
    return OfficialNetwork(module.class_name, kwargs, module.source_sha256, config, spec, tensors)
