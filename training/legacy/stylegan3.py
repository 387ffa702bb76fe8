"""Official StyleGAN3 generators, configurations T and R, as data: config and tensors of `extensions.stylegan3`.

Our tensors have the official names. The two configurations differ in the arguments of the constructor only.
"""

from __future__ import annotations

from typing import Any

import torch

from dnnlib.errors import CheckpointError
from torch_utils.checkpoint import Tensors
from training.interface import ImageSpec
from training.legacy.fit import OfficialNetwork, check_fit, make_config, make_spec
from training.legacy.module import Module
from training.legacy.reader import state_dict
from training.registry import GENERATORS, RECIPES

KIND = 'stylegan3'  # kind in the generator's record
FACTS = {'c_dim', 'img_resolution', 'img_channels'}
# Arguments that have the names of our fields. Absent ones have our defaults, which are the official ones.
FIELDS = {'z_dim', 'w_dim', 'channel_base', 'channel_max', 'num_layers', 'num_critical', 'first_cutoff',
          'first_stopband', 'last_stopband_rel', 'margin_size', 'output_scale', 'num_fp16_res', 'conv_kernel',
          'filter_size', 'lrelu_upsampling', 'use_radial_filters', 'magnitude_ema_beta'}  # fmt: skip
MAPPING = {'num_layers': 'map_depth', 'lr_multiplier': 'map_lr_multiplier', 'w_avg_beta': 'w_avg_beta'}
FILTER_TOLERANCE = 1e-7  # between a filter of the file and the same one designed here


def is_stylegan3(module: Module) -> bool:
    """Returns whether a generator is StyleGAN3's: its synthesis network has a module `input`."""
    modules: Any = module.state.get('_modules')
    synthesis = modules.get('synthesis') if type(modules) is dict else None
    parts: Any = synthesis.state.get('_modules') if isinstance(synthesis, Module) else None
    return type(parts) is dict and isinstance(parts.get('input'), Module)


def read_stylegan3(module: Module, kwargs: dict[str, Any], where: str, num_images: int = 1) -> OfficialNetwork:
    """Translates a StyleGAN3 generator.

    Args:
        module: Generator of the file.
        kwargs: Arguments of its constructor.
        where: Name of the generator in messages.
        num_images: Number of images in the data set, for the facts.

    Raises:
        CheckpointError: Ours cannot be equivalent, or the filters of the file are others than its arguments say.
    """
    mapping = kwargs.get('mapping_kwargs') or {}
    unknown = set(kwargs) - FACTS - FIELDS - {'conv_clamp', 'mapping_kwargs'}
    unknown |= set(mapping) - set(MAPPING) if type(mapping) is dict else {'mapping_kwargs'}
    if unknown:
        raise CheckpointError(f'{where}: made with {", ".join(sorted(map(ascii, unknown)))}, which is not known here')
    RECIPES.get('stylegan3-t')  # registers the generator
    architecture = GENERATORS.get(KIND)
    values = {name: kwargs.get(name) for name in FIELDS}
    values |= {ours: mapping.get(name) for name, ours in MAPPING.items()}
    optional = {name: kwargs[name] for name in ('conv_clamp',) if name in kwargs}
    config = make_config(architecture.config, values, optional, where)
    spec = make_spec(kwargs, num_images, where)
    tensors = state_dict(module, where)
    check_fit(architecture.build, config, spec, tensors, where)
    _check_filters(architecture.build, config, spec, tensors, where)
    return OfficialNetwork(module.class_name, kwargs, module.source_sha256, config, spec, tensors)


def recipe_of(config: Any) -> str:
    """Returns the recipe of a generator's config: R has 1x1 convolutions and radial filters."""
    return 'stylegan3-r' if config.conv_kernel == 1 and config.use_radial_filters else 'stylegan3-t'


def _check_filters(build: Any, config: Any, spec: ImageSpec, tensors: Tensors, where: str) -> None:
    """Raises CheckpointError unless the filters of a file are those that its arguments design.

    Args:
        build: Class of our network.
        config: Config of our network.
        spec: Facts of the data set.
        tensors: Tensors of the file.
        where: Name of the network in messages.
    """
    with torch.device('meta'):
        layers = list(build(config, spec).synthesis.layers())
    for layer in layers:
        for name, make in (('up_filter', layer.plan.up_filter), ('down_filter', layer.plan.down_filter)):
            key, expected = f'synthesis.{layer.plan.name}.{name}', make()
            if expected is not None and not torch.allclose(tensors[key], expected, rtol=0, atol=FILTER_TOLERANCE):
                raise CheckpointError(f'{where}: {key} is not the filter that its arguments design')
