"""StyleGAN3's golden networks: generators and discriminators with the official weights, and the numbers they gave."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from extensions.layers.stylegan3_config import StyleGAN3Config
from extensions.stylegan3 import StyleGAN3Generator
from tests.conftest import ROOT
from training.interface import ImageSpec
from training.networks.config import StyleGAN2DiscriminatorConfig
from training.networks.discriminator import StyleGAN2Discriminator

GOLDEN = ROOT / 'tests' / 'golden'
NOT_OF_G = ('D', 'cfg', 'seed', 'transforms', 'blur_sigmas')
Tensors = dict[str, torch.Tensor]


def config_of(arguments: Mapping[str, Any]) -> tuple[StyleGAN3Config, ImageSpec]:
    """Returns config and facts of the arguments of an official generator."""
    given = {name: value for name, value in arguments.items() if name not in NOT_OF_G}
    spec = ImageSpec(
        resolution=given.pop('img_resolution'),
        channels=given.pop('img_channels'),
        label_dim=given.pop('c_dim'),
        num_images=1,
    )
    map_depth = given.pop('mapping_kwargs', {}).get('num_layers', 2)
    return StyleGAN3Config(map_depth=map_depth, **given), spec


def load_tensors(name: str) -> tuple[Tensors, dict[str, Any]]:
    """Returns the tensors and `meta` of a golden file."""
    with np.load(GOLDEN / f'{name}.npz', allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file if key != 'meta'}, json.loads(str(file['meta']))


def load_generator(name: str) -> tuple[StyleGAN3Generator, Tensors, dict[str, Any]]:
    """Returns a generator with the official weights and no lowered layer, the tensors of its file, and `meta`."""
    t, meta = load_tensors(f'stylegan3_net_{name}')
    config, spec = config_of(meta)
    G = StyleGAN3Generator(dataclasses.replace(config, num_fp16_res=0), spec)
    G.load_state_dict({key.removeprefix('G.'): value for key, value in t.items() if key.startswith('G.')})
    return G, t, meta


def load_discriminator(t: Tensors, meta: dict[str, Any]) -> StyleGAN2Discriminator:
    """Returns the discriminator of a golden network, from its tensors and its `meta`, in float32."""
    arguments = dict(meta['D'])
    config = StyleGAN2DiscriminatorConfig(mbstd_group=arguments.pop('mbstd_group_size'), num_fp16_res=0, **arguments)
    D = StyleGAN2Discriminator(config, config_of(meta)[1])
    D.load_state_dict({key.removeprefix('D.'): value for key, value in t.items() if key.startswith('D.')})
    return D
