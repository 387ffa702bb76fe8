"""R3GAN's golden networks and what the official code computed; files laid out as its code writes them."""

from __future__ import annotations

import contextlib
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from extensions.r3gan import (
    R3GANDiscriminator,
    R3GANDiscriminatorConfig,
    R3GANGenerator,
    R3GANGeneratorConfig,
)
from training.interface import ImageSpec
from training.legacy.r3gan import Layout, translated
from training.run.export_r3gan import official_tensors

GROUP_CHANNELS = 8  # group_channels of every golden network
FILES = ('Networks', 'FusedOperators', 'Resamplers')  # modules of the official package


class Golden:
    """Networks with golden weights, and the arrays of the file.

    G, D: networks, with two resolutions that can be lowered.
    t: arrays as tensors by name.
    meta: settings.
    c: labels [4, c_dim].
    """

    def __init__(self, folder: Path, case: str) -> None:
        with np.load(folder / f'r3gan_net_{case}.npz', allow_pickle=False) as file:
            self.meta = json.loads(str(file['meta']))
            self.t = {name: torch.from_numpy(file[name]) for name in file if name != 'meta'}
        meta = self.meta
        spec = ImageSpec(resolution=meta['img_resolution'], channels=3, label_dim=meta['c_dim'], num_images=1)
        layout: dict[str, Any] = {
            'widths': tuple(meta['G']['WidthPerStage']),
            'num_blocks': tuple(meta['G']['BlocksPerStage']),
            'group_channels': GROUP_CHANNELS,
            'num_fp16_res': 2,
        }
        self.G = R3GANGenerator(R3GANGeneratorConfig(z_dim=meta['G']['NoiseDimension'], **layout), spec)
        self.D = R3GANDiscriminator(R3GANDiscriminatorConfig(**layout), spec)
        self.G.load_state_dict(self.of('G', 'G.'))
        self.D.load_state_dict(self.of('D', 'D.'))
        self.c = self.t.get('c', torch.zeros(4, 0))

    def of(self, net: str, prefix: str) -> dict[str, torch.Tensor]:
        """Returns the arrays of a network by our parameter names.

        Args:
            net: 'G' or 'D'.
            prefix: Beginning of their names in the file, such as 'grad_G.'.
        """
        start = f'{prefix}Model.'
        official = {name.removeprefix(start): value for name, value in self.t.items() if name.startswith(start)}
        blocks = tuple(self.meta[net]['BlocksPerStage'])
        return translated(official, net, Layout(blocks=blocks, widths=(), expansion=2, group_channels=GROUP_CHANNELS))


# ---- files as the official code writes them


@contextlib.contextmanager
def official_classes(wrapper: str = 'training.networks', package: str = 'R3GAN') -> Iterator[Callable[..., Any]]:
    """Lets `pickle` find stand-ins of R3GAN's classes. Yields a function that makes an empty module of one.

    Args:
        wrapper: Module of the two outer classes, whose name differs between versions.
        package: Package of the others.
    """
    made: dict[tuple[str, str], type] = {}
    modules = [name for name in (package, *(f'{package}.{file}' for file in FILES), wrapper) if name not in sys.modules]
    sys.modules |= {name: types.ModuleType(name) for name in modules}

    def module(name: str, **attributes: Any) -> torch.nn.Module:
        where, _, cls = f'{package}.{name}'.rpartition('.') if '.' in name else (wrapper, '', name)
        if (where, cls) not in made:
            made[where, cls] = type(cls, (torch.nn.Module,), {'__module__': where})
            setattr(sys.modules[where], cls, made[where, cls])
        net: torch.nn.Module = made[where, cls]()
        for key, value in attributes.items():
            setattr(net, key, value)
        return net

    try:
        yield module
    finally:
        for where, cls in made:
            delattr(sys.modules[where], cls)  # the wrapper's module is one of ours, too
        for where in modules:
            del sys.modules[where]


def official_network(
    make: Callable[..., Any], net: str, cfg: Any, tensors: dict[str, torch.Tensor], lowered: int = 0
) -> torch.nn.Module:
    """Returns one of our networks as modules of the official classes.

    Args:
        make: Function of `official_classes`.
        net: 'G' or 'D'.
        cfg: Config of the network.
        tensors: Its tensors by our names.
        lowered: Number of highest resolutions in bfloat16.
    """
    name = 'Generator' if net == 'G' else 'Discriminator'
    root = make(name)
    last = len(cfg.widths) - 1
    for path, tensor in official_tensors(tensors, net, cfg).items():
        *parts, leaf = path.split('.')
        node = root
        for depth, part in enumerate(parts):
            if part not in node._modules:
                node.add_module(part, _made(make, name, parts[: depth + 1], tensor))
            node = node._modules[part]
        if leaf == 'Kernel':
            node.register_buffer(leaf, tensor)
        else:
            node.register_parameter(leaf, torch.nn.Parameter(tensor, requires_grad=False))
    for s, stage in root.Model.MainLayers.named_children():
        down = int(s) if net == 'D' else last - int(s)
        stage.DataType = torch.bfloat16 if down < lowered else torch.float32
    return root.eval()


def _made(make: Callable[..., Any], name: str, parts: list[str], tensor: torch.Tensor) -> torch.nn.Module:
    """Returns an empty module of the class at a path; `tensor` is the first of those below it."""
    match parts:
        case ['Model']:
            return make(f'Networks.{name}')
        case [*_, 'MainLayers' | 'Layers']:
            return torch.nn.ModuleList()
        case ['Model', 'MainLayers', _]:
            return make(f'Networks.{name}Stage')
        case [*_, 'Layer' | 'Basis'] if tensor.ndim == 4:
            padding = 0 if parts[-1] == 'Basis' else tensor.shape[-1] // 2
            groups = tensor.shape[0] // tensor.shape[1] if tensor.shape[-1] > 1 else 1
            channels = tensor.shape[1] * groups
            size = (tensor.shape[2], tensor.shape[3])
            return torch.nn.Conv2d(channels, tensor.shape[0], size, padding=padding, groups=groups, bias=False)
        case [*_, 'Resampler']:
            return make('Resamplers.InterpolativeUpsamplerCUDA')
        case [*_, 'NonLinearity1' | 'NonLinearity2']:
            return make('FusedOperators.BiasedActivationCUDA')
        case [*_, 'LinearLayer' | 'EmbeddingLayer'] if tensor.ndim == 2:
            return torch.nn.Linear(tensor.shape[1], tensor.shape[0], bias=False)
    return make('Networks.ResidualBlock' if parts[-1].isdigit() else 'Networks.Convolution')
