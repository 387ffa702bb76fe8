"""R3GAN's snapshots as data: modules pickled by reference, translated to the networks of `--cfg=r3gan`.

Such a file holds no arguments of constructors. The configuration is read off the shapes of the tensors and the dtypes
of the stages. Official names count stages in the order in which they run, as ours do, and count a stage's transition
among its layers.

Letters: C channels of a stage, e C channels inside its blocks, k kernel size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch

from dnnlib.errors import CheckpointError, ConfigError
from dnnlib.pickles.inert_pickle import Ref
from torch_utils.checkpoint import Tensors
from training.interface import ImageSpec
from training.legacy.fit import OfficialNetwork, check_fit
from training.legacy.module import Module
from training.legacy.r3gan_classes import DTYPES, NETWORKS, WRAPPERS
from training.legacy.reader import plain, state_dict
from training.registry import DISCRIMINATORS, GENERATORS, RECIPES

_CONV1 = re.compile(r'MainLayers\.(\d{1,2})\.Layers\.(\d{1,2})\.LinearLayer1\.Layer\.weight')
# Names within a residual block, and within a transition: official and ours.
BLOCK = {f'LinearLayer{i}.Layer.weight': f'conv{i}.weight' for i in (1, 2, 3)} | {
    f'NonLinearity{i}.Bias': f'act{i}.bias' for i in (1, 2)
}
RESAMPLE = {'Resampler.Kernel': 'resample_filter', 'LinearLayer.Layer.weight': 'conv.weight'}
BASIS = {
    'G': {'Basis': 'basis', 'LinearLayer.weight': 'linear.weight'},
    'D': {'Basis.weight': 'basis', 'LinearLayer.weight': 'linear.weight'},
}
ENDS = {
    'G': {'AggregationLayer.Layer.weight': 'to_rgb.weight', 'EmbeddingLayer.weight': 'embed.weight'},
    'D': {'ExtractionLayer.Layer.weight': 'from_rgb.weight', 'EmbeddingLayer.weight': 'embed.weight'},
}


def is_r3gan(value: Any) -> bool:
    """Returns whether an object of a file is one of R3GAN's networks."""
    return isinstance(value, Module) and value.class_name.rpartition('.')[0] in WRAPPERS


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Sizes of a network in the order of its stages.

    blocks: residual blocks per stage.
    widths: channels per stage, C.
    expansion: e.
    group_channels: input channels of a group of the 3x3 convolutions.
    """

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    expansion: int
    group_channels: int


def read_r3gan(module: Module, net: str, where: str, num_images: int = 1) -> OfficialNetwork:
    """Translates one of R3GAN's networks.

    Args:
        module: Network of the file.
        net: Expected kind, 'G' or 'D'.
        where: Name of the network in messages.
        num_images: Number of images in the data set, for the facts.

    Raises:
        CheckpointError: It is another kind of network, or ours cannot be equivalent.
    """
    wanted = NETWORKS[net == 'D']
    if module.class_name.rpartition('.')[2] != wanted:
        raise CheckpointError(f'{where}: a {ascii(module.class_name)[1:-1][:80]}; expected an R3GAN {wanted}')
    official = {_without_model(name, where): tensor for name, tensor in state_dict(module, where).items()}
    _check_convolutions(module, where)
    layout = read_layout(official, where)
    spec = _facts(official, net, len(layout.blocks), num_images, where)
    RECIPES.get('r3gan')  # imports the extension, which registers the networks
    architecture = (GENERATORS if net == 'G' else DISCRIMINATORS).get('r3gan')
    upwards = slice(None, None, -1 if net == 'D' else 1)
    fields: dict[str, Any] = {
        'widths': layout.widths[upwards],
        'num_blocks': layout.blocks[upwards],
        'expansion': layout.expansion,
        'group_channels': layout.group_channels,
        'num_fp16_res': _num_lowered(module, len(layout.blocks), net, where),
    }
    if net == 'G':
        columns = _shape(official, 'MainLayers.0.Layers.0.LinearLayer.weight', 2, where)[1]
        fields['z_dim'] = columns // 2 if spec.label_dim else columns
    try:
        config = architecture.config(**fields)
    except ConfigError as error:
        raise CheckpointError(f'{where}: sizes that no network here has: {error}') from None
    tensors = translated(official, net, layout)
    check_fit(architecture.build, config, spec, tensors, where)
    return OfficialNetwork(module.class_name, {}, module.source_sha256, config, spec, tensors)


def names_of(net: str, blocks: tuple[int, ...]) -> dict[str, str]:
    """Returns our name of every official name that a network can have; some transitions have no convolution.

    Args:
        net: 'G' or 'D'.
        blocks: Residual blocks per stage, in the order of the stages.
    """
    names = dict(ENDS[net])
    last = len(blocks) - 1
    for s, count in enumerate(blocks):
        layers, own = f'MainLayers.{s}.Layers', f'stages.{s}'
        first_block, transition = (1, 0) if net == 'G' else (0, count)
        inner = BASIS[net] if s == (0 if net == 'G' else last) else RESAMPLE
        names |= {f'{layers}.{transition}.{a}': f'{own}.transition.{b}' for a, b in inner.items()}
        for i in range(count):
            names |= {f'{layers}.{first_block + i}.{a}': f'{own}.blocks.{i}.{b}' for a, b in BLOCK.items()}
    return names


def translated(official: Tensors, net: str, layout: Layout) -> Tensors:
    """Returns tensors by our names. The basis of D is a depthwise convolution there, [C, 1, 4, 4], and [C, 4, 4] here.

    Args:
        official: Tensors by official names, without 'Model.'; names that R3GAN does not have remain.
        net: 'G' or 'D'.
        layout: Sizes of the network.
    """
    names = names_of(net, layout.blocks)
    tensors = {names.get(name, name): tensor for name, tensor in official.items()}
    basis = f'stages.{len(layout.blocks) - 1}.transition.basis'
    if net == 'D' and basis in tensors and tensors[basis].ndim == 4:
        tensors[basis] = tensors[basis].flatten(0, 1)
    return tensors


def read_layout(official: Tensors, where: str) -> Layout:
    """Returns the sizes of a network. Raises CheckpointError if they are not those of one of R3GAN's.

    Args:
        official: Tensors by official names, without 'Model.'.
        where: Name of the network in messages.
    """
    found: dict[int, list[str]] = {}
    for name in official:
        if match := _CONV1.fullmatch(name):
            found.setdefault(int(match[1]), []).append(name)
    if sorted(found) != list(range(len(found))) or not found:
        raise CheckpointError(f'{where}: stages {sorted(found)} have residual blocks; expected 0, 1, ...')
    widths, ratios = [], set()
    for s in sorted(found):
        inner, width = _shape(official, found[s][0], 4, where)[:2]
        group = _shape(official, found[s][0].replace('LinearLayer1', 'LinearLayer2'), 4, where)[1]
        widths.append(width)
        ratios.add((inner / width, group))
    if len(ratios) > 1:
        raise CheckpointError(
            f'{where}: expansion and channels per group differ between stages: {sorted(ratios)}; expected one pair'
        )
    ((expansion, group_channels),) = ratios
    return Layout(
        blocks=tuple(len(found[s]) for s in sorted(found)),
        widths=tuple(widths),
        expansion=int(expansion),
        group_channels=group_channels,
    )


def _facts(official: Tensors, net: str, num_stages: int, num_images: int, where: str) -> ImageSpec:
    rgb = 'AggregationLayer.Layer.weight' if net == 'G' else 'ExtractionLayer.Layer.weight'
    labels = 'EmbeddingLayer.weight'
    return ImageSpec(
        resolution=4 << (num_stages - 1),
        channels=_shape(official, rgb, 4, where)[0 if net == 'G' else 1],
        label_dim=_shape(official, labels, 2, where)[1] if labels in official else 0,
        num_images=num_images,
    )


def _shape(official: Tensors, name: str, ndim: int, where: str) -> tuple[int, ...]:
    """Returns the shape of a tensor. Raises CheckpointError unless it exists and has `ndim` dimensions."""
    tensor = official.get(name)
    if tensor is None or tensor.ndim != ndim:
        shape = 'missing' if tensor is None else list(tensor.shape)
        raise CheckpointError(f'{where}: {name} is {shape}; expected {ndim} dimensions')
    return tuple(tensor.shape)


def _without_model(name: str, where: str) -> str:
    if not name.startswith('Model.'):
        raise CheckpointError(f'{where}: has {name}; expected tensors of Model')
    return name.removeprefix('Model.')


def _num_lowered(module: Module, num_stages: int, net: str, where: str) -> int:
    """Returns the number of highest resolutions in bfloat16, which in G are the last stages and in D the first.

    Raises CheckpointError for another dtype or pattern. The 4x4 stage is float32 in every network here.
    """
    stages = [_child(module, 'Model', 'MainLayers', str(s), where=where) for s in range(num_stages)]
    dtypes = [stage.state.get('DataType', Ref('torch', 'float32')) for stage in stages]
    lowered = [dtype == Ref('torch', 'bfloat16') for dtype in dtypes]
    known = all(dtype in [Ref('torch', name) for name in DTYPES] for dtype in dtypes)
    downwards = lowered[::-1] if net == 'G' else lowered
    count: int = sum(lowered)
    if not known or downwards != [True] * count + [False] * (num_stages - count) or count == num_stages:
        given = ', '.join(str(dtype) if type(dtype) is Ref else type(dtype).__name__ for dtype in dtypes)
        raise CheckpointError(
            f'{where}: dtypes of the stages are {given}; expected float32, and bfloat16 in the highest resolutions'
        )
    return count


def _child(module: Module, *names: str, where: str) -> Module:
    for name in names:
        table = module.state.get('_modules')
        child = table.get(name) if type(table) is dict else None
        if not isinstance(child, Module):
            raise CheckpointError(f'{where}: has no module {name}')
        module = child
    return module


def _check_convolutions(module: Module, where: str) -> None:
    """Raises CheckpointError for a convolution with attributes that its shape does not imply here."""
    todo = [module]
    while todo:
        node = todo.pop()
        table, parameters = node.state.get('_modules'), node.state.get('_parameters')
        todo += [child for child in (table or {}).values() if isinstance(child, Module)] if type(table) is dict else []
        weight = parameters.get('weight') if type(parameters) is dict else None
        if node.class_name != 'torch.nn.modules.conv.Conv2d' or not isinstance(weight, torch.Tensor):
            continue
        if weight.ndim != 4:
            raise CheckpointError(f'{where}: a convolution with weights {list(weight.shape)}; expected 4 dimensions')
        channels, group, *kernel = weight.shape
        depthwise = channels > 1 and group == 1 and kernel != [1, 1]  # the basis of D
        padding = (0, 0) if depthwise and kernel == [4, 4] else tuple(k // 2 for k in kernel)
        expected = {
            'stride': (1, 1),
            'dilation': (1, 1),
            'padding': padding,
            'padding_mode': 'zeros',
            'groups': channels // group if kernel != [1, 1] else 1,
        }
        for name, value in expected.items():
            if (given := node.state.get(name)) != value or type(given) is not type(value):
                raise CheckpointError(f'{where}: a convolution with {name}={given!a:.40}; expected {value}')


def progress(content: dict[Any, Any], where: str) -> dict[str, Any]:
    """Returns the images shown and a summary of the optimizers, whose states snapshots here do not hold.

    Args:
        content: Dict of the file.
        where: Name of the file in messages.

    Raises:
        CheckpointError: An optimizer is not that of `torch.optim.Adam`.
    """
    found: dict[str, Any] = {}
    if 'cur_nimg' in content:
        found['cur_nimg'] = plain(content['cur_nimg'], f'{where}: cur_nimg')
    for name in ('G_opt_state', 'D_opt_state'):
        match content.get(name):
            case None:
                pass
            case {'state': dict(state), 'param_groups': list(groups)}:
                tensors = [value for slots in state.values() if type(slots) is dict for value in slots.values()]
                numbers = sum(value.numel() for value in tensors if isinstance(value, torch.Tensor))
                found[name] = {'numbers': numbers, 'param_groups': plain(groups, f'{where}: {name}')}
            case _:
                raise CheckpointError(f'{where}: {name} holds no state of an optimizer')
    return found
