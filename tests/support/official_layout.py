"""Files laid out as NVIDIA's code writes them, made of our networks, for the tests of `training.legacy`.

The functions and classes that such a file names do not exist here: empty ones stand in for them while it is written.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dnnlib.errors import CheckpointError
from training.build import build_networks
from training.interface import ImageSpec
from training.legacy.convert import load_official
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.networks.discriminator import StyleGAN2Discriminator
from training.networks.stylegan2 import StyleGAN2Generator
from training.run.snapshot import Snapshot

SOURCE = "raise RuntimeError('source text was executed')\n"
HOOKS = ('_backward_hooks', '_forward_hooks', '_forward_pre_hooks', '_state_dict_hooks', '_load_state_dict_pre_hooks')
SPEC = ImageSpec(resolution=8, channels=3, label_dim=0, num_images=1)
WIDTHS = {'channel_base': 32, 'channel_max': 4}
G_KWARGS = {'z_dim': 6, 'c_dim': 0, 'w_dim': 5, 'img_resolution': 8, 'img_channels': 3}
D_KWARGS = {'c_dim': 0, 'img_resolution': 8, 'img_channels': 3}


def _reconstruct_persistent_obj(meta: Any) -> None:
    raise AssertionError('it must never be called')


class Network:
    """TensorFlow's network."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__


class EasyDict(dict):
    """A dict of another name."""


class Persistent:
    """A module as the official code pickles it: its class's name, the text of its source, its attributes."""

    def __init__(self, class_name: str, state: dict[str, Any], source: str = SOURCE) -> None:
        self.meta = EasyDict(type='class', version=6, module_src=source, class_name=class_name, state=state)

    def __reduce__(self) -> Any:
        return _reconstruct_persistent_obj, (self.meta,)


@contextlib.contextmanager
def official_names() -> Iterator[None]:
    """Lets `pickle` find the stand-ins under their official names."""
    names = {
        'torch_utils.persistence': _reconstruct_persistent_obj,
        'dnnlib.util': EasyDict,
        'dnnlib.tflib': None,
        'dnnlib.tflib.network': Network,
    }
    try:
        for name, thing in names.items():
            sys.modules[name] = types.ModuleType(name)
            if thing is not None:
                thing.__module__ = name
                setattr(sys.modules[name], thing.__name__, thing)
        yield
    finally:
        for name in names:
            del sys.modules[name]


def dumps(value: Any, protocol: int = 4) -> bytes:
    """Returns the pickle that the official code would write."""
    with official_names():
        return pickle.dumps(value, protocol)


def persistent(net: torch.nn.Module, class_name: str, kwargs: dict[str, Any] | None = None, **state: Any) -> Persistent:
    """Returns one of our modules as an official one.

    Args:
        net: The module.
        class_name: Name of the official class.
        kwargs: Arguments with which the official code built it.
        state: Further attributes.
    """
    return Persistent(
        class_name,
        {
            'training': False,
            '_parameters': {k: v for k, v in net._parameters.items() if v is not None},
            '_buffers': dict(net._buffers),
            '_non_persistent_buffers_set': set(),
            **{name: OrderedDict() for name in HOOKS},
            '_modules': {name: persistent(child, type(child).__name__) for name, child in net._modules.items()},
            '_init_args': (),
            '_init_kwargs': EasyDict(kwargs or {}),
            **{name: getattr(net, name) for name in ('conv_clamp', 'architecture') if hasattr(net, name)},
            **state,
        },
    )


def generator(seed: int = 0, spec: ImageSpec = SPEC, **options: Any) -> StyleGAN2Generator:
    """Returns a small generator with noise that shows and a mean of w that is not zero."""
    torch.manual_seed(seed)
    config = StyleGAN2GeneratorConfig(z_dim=6, w_dim=5, **{'map_depth': 2, **WIDTHS, **options})
    G = StyleGAN2Generator(config, spec).eval()
    for name, tensor in G.state_dict().items():
        if name.endswith(('noise_strength', 'bias', 'w_avg')):
            tensor.add_(torch.randn(tensor.shape) * 0.3)
    return G


def discriminator(seed: int = 1, spec: ImageSpec = SPEC, **options: Any) -> StyleGAN2Discriminator:
    """Returns a small discriminator."""
    torch.manual_seed(seed)
    return StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(**{**WIDTHS, **options}), spec).eval()


def official_file(path: Path, protocol: int = 4, **content: Any) -> Path:
    """Writes a file of {name: Persistent or plain}."""
    path.write_bytes(dumps(content, protocol))
    return path


def load_D(snapshot: Snapshot) -> torch.nn.Module:
    """Returns the discriminator of a snapshot."""
    _, D = build_networks(*snapshot.config())
    D.load_state_dict({k[2:]: v for k, v in snapshot.tensors.items() if k.startswith('D.')}, strict=True)
    return D


# ---- TensorFlow


def tf_network(net: torch.nn.Module, static_kwargs: dict[str, Any]) -> Network:
    """Returns G or D as TensorFlow's code stores it: the inverse of the conversion in `training.legacy`."""
    state = {name: value.numpy() for name, value in net.state_dict().items() if not name.endswith('resample_filter')}
    variables: dict[str, dict[str, np.ndarray]] = {'': {}, 'mapping': {}, 'synthesis': {}}
    for name, value in state.items():
        part, variable, array = _tf_variable(name, value, is_G=hasattr(net, 'synthesis'))
        variables[part][variable] = array
    components = {
        part: Network(version=5, static_kwargs={}, variables=list(variables[part].items()), components={})
        for part in ('mapping', 'synthesis')
        if variables[part]
    }
    own = [('lod', np.float32(0)), *variables[''].items()]
    return Network(version=5, static_kwargs=static_kwargs, variables=own, components=components, build_module_src='x')


def _tf_variable(name: str, value: np.ndarray, is_G: bool) -> tuple[str, str, np.ndarray]:
    if name == 'mapping.w_avg':
        return '', 'dlatent_avg', value
    parts = name.split('.')
    if parts[0] == 'mapping':
        layer = 'LabelEmbed' if parts[1] == 'embed' else f'Dense{parts[1][2:]}'
        return 'mapping' if is_G else '', f'{layer}/{parts[2]}', value.T
    block, layer, what = (parts[1:] if is_G else parts)[0], parts[-2], parts[-1]
    part = 'synthesis' if is_G else ''
    res = int(block[1:])
    if what == 'const':
        return part, '4x4/Const/const', value[None]
    if what == 'noise_const':
        first = {4: 0, 8: 2, 16: 4, 32: 6}[res]
        return part, f'noise{first - 1 if layer == "conv0" else first}', value[None, None]
    scope = f'{res}x{res}'
    if layer == 'affine':
        conv = {'conv0': 'Conv0_up', 'conv1': 'Conv' if res == 4 else 'Conv1', 'torgb': 'ToRGB'}[parts[-3]]
        return part, f'{scope}/{conv}/mod_{what}', value.T if what == 'weight' else value - 1
    if layer in ('fc', 'out'):
        return part, {'fc': '4x4/Dense0/', 'out': 'Output/'}[layer] + what, value.T
    G_names = {'conv0': 'Conv0_up', 'conv1': 'Conv' if res == 4 else 'Conv1', 'torgb': 'ToRGB', 'skip': 'Skip'}
    D_names = {'conv0': 'Conv0', 'conv1': 'Conv1_down', 'fromrgb': 'FromRGB', 'skip': 'Skip', 'conv': 'Conv'}
    if what == 'weight':
        value = value.transpose(2, 3, 1, 0)
        if is_G and layer in ('conv0', 'skip'):
            value = value[::-1, ::-1]
    return part, f'{scope}/{(G_names if is_G else D_names)[layer]}/{what}', value


def official_refusal(path: Path) -> str:
    """Returns the message with which an official file is refused."""
    with pytest.raises(CheckpointError) as caught:
        load_official(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def one_generator_file(
    tmp_path: Path, G_kwargs: dict[str, Any] | None = None, name: str = 'Generator', **state: Any
) -> Path:
    """Writes a file with one generator and returns its path.

    Args:
        tmp_path: Folder of the file.
        G_kwargs: Arguments of the generator that differ.
        name: Name of its class.
        state: Attributes that differ.
    """
    kwargs = G_KWARGS | {'mapping_kwargs': {'num_layers': 2}, 'synthesis_kwargs': {**WIDTHS}} | (G_kwargs or {})
    return official_file(tmp_path / 'a.pkl', G_ema=persistent(generator(), name, kwargs, **state))
