"""Translation of TensorFlow networks (StyleGAN2, StyleGAN2-ADA) to ours: names, layouts and arguments.

Differences: a fully connected weight is transposed; a convolution's weight is HWIO, and flipped in height and width if
it enlarges the image; the bias of a style lacks its 1; noise has a consecutive number; fmap_base is half of
channel_base. Filters are not variables: ours are computed from `resample_kernel`.

This was not tested with an official TensorFlow file, because none was available: the names are those that every
published converter reads, and a file with other names raises an error here, as it does there. This includes generators
of architecture 'orig', which have a ToRGB for every resolution of progressive growing.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any

import numpy as np
import torch

from dnnlib.errors import CheckpointError, UnsafeModelFile
from torch_utils.checkpoint import Tensors
from torch_utils.ops.upfirdn2d import setup_filter
from training.legacy.fit import FIR_LENGTH, OfficialNetwork, check_fit, make_config, make_spec, shapes_of
from training.legacy.reader import TFNetwork, plain
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.networks.discriminator import StyleGAN2Discriminator
from training.networks.layers import FIR_TAPS
from training.networks.stylegan2 import StyleGAN2Generator

_Arrays = dict[str, np.ndarray]

# Arguments of calls, training or computation, which do not change the network itself.
_CALLS = {'func_name', 'truncation_psi', 'truncation_cutoff', 'truncation_psi_val', 'truncation_cutoff_val',
         'style_mixing_prob', 'randomize_noise', 'is_training', 'is_validation', 'return_dlatents', 'dtype',
         'fused_modconv', 'is_template_graph', 'name', 'mapping_func', 'synthesis_func'}  # fmt: skip
_SIZES = {'num_channels', 'resolution', 'label_size', 'fmap_base', 'fmap_max'}
_BLOCKS = {'architecture', 'num_fp16_res', 'conv_clamp', 'resample_kernel', 'nonlinearity', 'fmap_min', 'fmap_decay'}
_MAPPING = {'mapping_layers', 'mapping_fmaps', 'mapping_lrmul', 'mapping_nonlinearity'}
_G_ONLY = {'latent_size', 'dlatent_size', 'dlatent_avg_beta', 'normalize_latents', 'use_noise'}
_D_ONLY = {'mbstd_group_size', 'mbstd_num_features'}
# The behavior of our layers, which is also the meaning of an absent argument.
_FIXED = {'nonlinearity': 'lrelu', 'mapping_nonlinearity': 'lrelu', 'normalize_latents': True, 'use_noise': True,
         'fmap_min': 1, 'fmap_decay': 1.0}  # fmt: skip

_LAYERS = {'conv0': 'Conv0_up', 'conv1': 'Conv1', 'torgb': 'ToRGB', 'skip': 'Skip'}
_D_LAYERS = {'conv0': 'Conv0', 'conv1': 'Conv1_down', 'fromrgb': 'FromRGB', 'skip': 'Skip'}


def read_tf_generator(network: TFNetwork, where: str) -> OfficialNetwork:
    """Translates G or Gs, whose mapping and synthesis networks are components."""
    kwargs, arrays = _content(network, _CALLS | _SIZES | _BLOCKS | _MAPPING | _G_ONLY, where)
    w_dim = kwargs.get('dlatent_size', 512)
    if kwargs.get('mapping_fmaps', w_dim) != w_dim:
        raise CheckpointError(f'{where}: made with mapping_fmaps={kwargs["mapping_fmaps"]!a:.40}, expected {w_dim}')
    values = {
        'z_dim': kwargs.get('latent_size'),
        'w_dim': w_dim,
        'map_depth': kwargs.get('mapping_layers'),
        'map_lr_multiplier': kwargs.get('mapping_lrmul'),
        'w_avg_beta': kwargs.get('dlatent_avg_beta'),
        **_block_values(kwargs),
    }
    config = make_config(StyleGAN2GeneratorConfig, values, {'conv_clamp': kwargs.get('conv_clamp')}, where)
    return _converted(StyleGAN2Generator, config, kwargs, arrays, _g_source, network, where)


def read_tf_discriminator(network: TFNetwork, where: str) -> OfficialNetwork:
    """Translates D, in which no layers follow the embedding of labels."""
    kwargs, arrays = _content(network, _CALLS | _SIZES | _BLOCKS | _MAPPING | _D_ONLY, where)
    if kwargs.get('mapping_layers', 0) != 0:
        raise CheckpointError(f'{where}: made with mapping_layers={kwargs["mapping_layers"]!a:.40}; only 0 is known')
    values = {
        'map_depth': 0,
        'cmap_dim': kwargs.get('mapping_fmaps'),
        'mbstd_channels': kwargs.get('mbstd_num_features'),
        **_block_values(kwargs),
    }
    # The default of StyleGAN2-ADA is the whole batch; that of StyleGAN2 is 4, which is the same for batches of up to 4
    # images. The file does not say which of the two wrote it; the former is used.
    optional = {'mbstd_group': kwargs.get('mbstd_group_size'), 'conv_clamp': kwargs.get('conv_clamp')}
    config = make_config(StyleGAN2DiscriminatorConfig, values, optional, where)
    return _converted(StyleGAN2Discriminator, config, kwargs, arrays, _d_source, network, where)


def _block_values(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of our config that describe the blocks."""
    base = kwargs.get('fmap_base')
    return {
        'architecture': kwargs.get('architecture'),
        'channel_base': base * 2 if type(base) is int else base,
        'channel_max': kwargs.get('fmap_max'),
        'num_fp16_res': kwargs.get('num_fp16_res', 0),
    }


def _content(network: TFNetwork, known: set[str], where: str) -> tuple[dict[str, Any], _Arrays]:
    """Returns the checked arguments of a network and all its variables; those of components have a prefix.

    Args:
        network: Network of the file.
        known: Names of the known arguments.
        where: Name of the network in messages.

    Raises:
        CheckpointError: An argument is unknown, or not implemented here.
    """
    kwargs = plain(network.state.get('static_kwargs'), f'{where}: static_kwargs')
    if type(kwargs) is not dict or set(kwargs) - known:
        unknown = ', '.join(sorted(map(ascii, set(kwargs) - known))) if type(kwargs) is dict else type(kwargs).__name__
        raise CheckpointError(f'{where}: made with {unknown:.200}, which is not known here')
    for name, value in _FIXED.items():
        if kwargs.get(name, value) != value:
            raise CheckpointError(f'{where}: made with {name}={kwargs[name]!a:.80}, which no network here has')
    arrays: _Arrays = {}
    _collect(network, '', arrays, where)
    return kwargs, arrays


def _collect(network: Any, prefix: str, arrays: _Arrays, where: str) -> None:
    """Adds the variables of a network and its components to a table.

    Args:
        network: Network of the file.
        prefix: Path of the network, with a slash at its end.
        arrays: Table to extend.
        where: Name of the whole network in messages.

    Raises:
        UnsafeModelFile: The network is malformed. One that occurs in two places has a name twice, or is too deep.
    """
    variables = network.state.get('variables') if isinstance(network, TFNetwork) else None
    components = network.state.get('components', {}) if isinstance(network, TFNetwork) else None
    if type(variables) is not list or type(components) is not dict or prefix.count('/') > 1:
        raise UnsafeModelFile(f'{where}: {prefix or "it"} is not a TensorFlow network with variables and components')
    for item in variables:
        match item:
            case [str(name), np.ndarray() as array] if prefix + name not in arrays:
                arrays[prefix + name] = array
            case [str(name), int() | float()]:
                continue  # a scalar such as `lod`, which StyleGAN2 does not use
            case _:
                raise UnsafeModelFile(f'{where}: {prefix}variables holds something else than names with arrays')
    for name, part in components.items():
        if type(name) is not str:
            raise UnsafeModelFile(f'{where}: a component whose name is not text')
        _collect(part, f'{prefix}{name}/', arrays, where)


def _converted(
    build: Any, config: Any, kwargs: dict[str, Any], arrays: _Arrays, source: Any, network: TFNetwork, where: str
) -> OfficialNetwork:
    """Translates every tensor of our network from its variable.

    Args:
        build: Class of our network.
        config: Config of our network.
        kwargs: Arguments of the network of the file.
        arrays: Variables of the network of the file, by name.
        source: Function from the name of a tensor to the name of its variable and its layout.
        network: Network of the file.
        where: Name of the network in messages.

    Raises:
        CheckpointError: A variable is missing or not used.
    """
    sizes = {'img_resolution': 'resolution', 'img_channels': 'num_channels', 'c_dim': 'label_size'}
    given = {name: kwargs.get(theirs, 0 if theirs == 'label_size' else None) for name, theirs in sizes.items()}
    spec = make_spec(given, 1, where)
    taps = kwargs.get('resample_kernel') or FIR_TAPS
    if type(taps) not in (list, tuple) or len(taps) != FIR_LENGTH or not all(type(t) in (int, float) for t in taps):
        raise CheckpointError(f'{where}: made with resample_kernel={taps!a:.80}, expected {FIR_LENGTH} numbers')
    left = {name for name, array in arrays.items() if array.size > 1 or not name.endswith('lod')}
    tensors: Tensors = {}
    for name in shapes_of(build, config, spec, where):
        if name.endswith('resample_filter'):
            tensors[name] = setup_filter(taps)
            continue
        variable, layout = source(name)
        if variable not in arrays:
            raise CheckpointError(f'{where}: has no variable {variable}; it is not a StyleGAN2 of these arguments')
        tensors[name] = _tensor(arrays[variable], layout, f'{where}: {variable}')
        left.discard(variable)
    if left:
        raise CheckpointError(
            f'{where}: holds {sorted(left)[:5]!a}, which a StyleGAN2 of these arguments does not have'
        )
    check_fit(build, config, spec, tensors, where)
    text = network.state.get('build_module_src')
    digest = hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest() if type(text) is str else ''
    return OfficialNetwork('dnnlib.tflib.network.Network', kwargs, digest, config, spec, tensors)


def _tensor(array: np.ndarray, layout: str, where: str) -> torch.Tensor:
    """Copies a variable to a tensor in our layout.

    Args:
        array: The variable.
        layout: Difference between the layouts, see the cases below; '' for none.
        where: Name of the variable in messages.

    Raises:
        CheckpointError: The variable has another type or rank.
    """
    ranks = {'dense': 2, 'conv': 4, 'up': 4, 'const': 4, 'noise': 4, 'style bias': 1}
    if array.dtype.kind != 'f' or array.ndim != ranks.get(layout, array.ndim):
        raise CheckpointError(f'{where}: {array.dtype} {list(array.shape)} where a {layout} is expected')
    match layout:
        case 'dense':
            array = array.T  # [I, O] -> [O, I]
        case 'conv':
            array = array.transpose(3, 2, 0, 1)  # [k, k, I, O] -> [O, I, k, k]
        case 'up':
            array = array[::-1, ::-1].transpose(3, 2, 0, 1)  # [k, k, I, O] -> [O, I, k, k]
        case 'const':
            array = array[0]  # [1, C, 4, 4] -> [C, 4, 4]
        case 'noise':
            array = array[0, 0]  # [1, 1, H, W] -> [H, W]
        case 'style bias':
            array = array + 1
    return torch.from_numpy(np.array(array, np.float32, order='C'))


def _mapping_source(name: str) -> tuple[str, str] | None:
    """Returns the variable and layout of a tensor of a mapping network (LabelEmbed, Dense0, Dense1, ...), or None."""
    if m := re.fullmatch(r'mapping\.(?:embed|fc(\d+))\.(weight|bias)', name):
        layer = 'LabelEmbed' if m[1] is None else f'Dense{m[1]}'
        return f'{layer}/{m[2]}', 'dense' if m[2] == 'weight' else ''
    return None


def _g_source(name: str) -> tuple[str, str]:
    """Returns the variable of a tensor of G, and its layout."""
    if name == 'mapping.w_avg':
        return 'dlatent_avg', ''
    if found := _mapping_source(name):
        return f'mapping/{found[0]}', found[1]
    if name == 'synthesis.b4.const':
        return 'synthesis/4x4/Const/const', 'const'
    m = re.fullmatch(r'synthesis\.b(\d+)\.(\w+?)\.([\w.]+)', name)
    assert m is not None, name
    res, layer, what = int(m[1]), m[2], m[3]
    if what == 'noise_const':
        return f'synthesis/noise{2 * int(math.log2(res)) - (5 if layer == "conv0" else 4)}', 'noise'
    theirs = 'Conv' if res == 4 and layer == 'conv1' else _LAYERS[layer]
    variable, layout = {
        'weight': ('weight', 'up' if layer in ('conv0', 'skip') else 'conv'),
        'affine.weight': ('mod_weight', 'dense'),
        'affine.bias': ('mod_bias', 'style bias'),
        'bias': ('bias', ''),
        'noise_strength': ('noise_strength', ''),
    }[what]
    return f'synthesis/{res}x{res}/{theirs}/{variable}', layout


def _d_source(name: str) -> tuple[str, str]:
    """Returns the variable of a tensor of D, and its layout."""
    if found := _mapping_source(name):
        return found
    m = re.fullmatch(r'b(\d+)\.(\w+)\.(weight|bias)', name)
    assert m is not None, name
    res, layer, what = m[1], m[2], m[3]
    theirs = {'conv': '4x4/Conv', 'fc': '4x4/Dense0', 'out': 'Output'}.get(layer) or f'{res}x{res}/{_D_LAYERS[layer]}'
    layout = '' if what == 'bias' else 'dense' if layer in ('fc', 'out') else 'conv'
    return f'{theirs}/{what}', layout
