"""Conversion of an official file to a snapshot: tensors under our names, the record of the networks, a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dnnlib import files
from dnnlib.errors import CheckpointError, UnsafeModelFile
from dnnlib.registry import source_of
from torch_utils.checkpoint import Tensors
from training import recipes
from training.config import RunConfig
from training.data.dataset import DataConfig
from training.interface import ImageSpec
from training.legacy.fit import OfficialNetwork
from training.legacy.module import Module
from training.legacy.networks import read_discriminator, read_generator
from training.legacy.r3gan import is_r3gan, progress, read_r3gan
from training.legacy.reader import TFNetwork, arguments, plain, read_network_pickle, state_dict
from training.legacy.stylegan3 import KIND, recipe_of
from training.legacy.tensorflow import read_tf_discriminator, read_tf_generator
from training.networks.config import StyleGAN2DiscriminatorConfig
from training.record import to_record
from training.registry import GENERATORS, RECIPES, architecture_of

UNKNOWN_DATA = 'the-unnamed-data-of-an-official-file'  # not a path: a run that needs the data requires --data
_BATCH = 32  # batch size in the record, if the discriminator takes any


@dataclass(frozen=True, kw_only=True, slots=True)
class Official:
    """The contents of an official file in the form of `training.run.snapshot.Snapshot`, and a report."""

    tensors: Tensors  # 'G_ema.NAME', and 'G.NAME' and 'D.NAME' if the file has them
    record: dict[str, Any]  # config, facts, provenance
    report: dict[str, Any]  # plain values: networks with their classes, arguments and sizes, and further contents


def load_official(path: Path) -> Official:
    """Reads a pickle of StyleGAN2-ADA, of StyleGAN3, of R3GAN, or of TensorFlow's StyleGAN2(-ADA).

    Nothing in the file is executed. Raises CheckpointError for another kind of file, and for an argument or a tensor
    that the networks here do not have. Raises UnsafeModelFile for contents that are not data.
    """
    where = str(path)
    content = read_network_pickle(path)
    data: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if type(content) is tuple and content and all(isinstance(part, TFNetwork) for part in content):
        networks = _tensorflow_networks(content, where)
    elif type(content) is dict:
        data = _data_arguments(content.get('training_set_kwargs'), where)
        networks = _torch_networks(content, _num_images(data), where)
        extra = _augmentation(content.get('augment_pipe'), where) | progress(content, where)
    else:
        raise CheckpointError(f'{where}: holds a {type(content).__name__}; expected a dict with G, D and G_ema')
    tensors = {f'{name}.{key}': value for name, net in networks.items() for key, value in net.tensors.items()}
    if len({tensor.data_ptr() for tensor in tensors.values()}) < len(tensors):
        raise UnsafeModelFile(f'{where}: one tensor occurs in two networks; expected separate networks')
    report = {
        'source': {'file': path.name, 'bytes': path.stat().st_size, 'sha256': files.sha256_of(path)},
        'networks': {name: _described(net) for name, net in networks.items()},
        'training_set_kwargs': data,
        **extra,
    }
    return Official(tensors=tensors, record=_record(networks, data, report), report=report)


def _torch_networks(content: dict[Any, Any], num_images: int, where: str) -> dict[str, OfficialNetwork]:
    """Reads G_ema, G and D from a dict. A single generator, or the same one under both names, is G_ema.

    Args:
        content: Dict of the file.
        num_images: Number of images in the data set, for the facts.
        where: Name of the file in messages.
    """
    networks = {}
    for name in ('G_ema', 'G'):
        if content.get(name) is not None and (name == 'G_ema' or content[name] is not content.get('G_ema')):
            networks[name] = _read(content[name], 'G', f'{where}: {name}', num_images)
    if content.get('D') is not None:
        networks['D'] = _read(content['D'], 'D', f'{where}: D', num_images)
    return _with_ema(networks, where)


def _read(module: Any, net: str, where: str, num_images: int) -> OfficialNetwork:
    """Reads a network by the kind of its class.

    Args:
        module: Object of the file.
        net: Expected kind, 'G' or 'D'.
        where: Name of the object in messages.
        num_images: Number of images in the data set, for the facts.
    """
    if is_r3gan(module):
        return read_r3gan(module, net, where, num_images)
    return (read_generator if net == 'G' else read_discriminator)(module, where, num_images)


def _tensorflow_networks(content: tuple[TFNetwork, ...], where: str) -> dict[str, OfficialNetwork]:
    """Reads the networks of a TensorFlow file, (G, D, Gs), in which Gs is the average."""
    if len(content) != 3:
        raise CheckpointError(f'{where}: holds {len(content)} TensorFlow networks; expected G, D and Gs')
    G, D, Gs = content
    return {
        'G_ema': read_tf_generator(Gs, f'{where}: Gs'),
        'G': read_tf_generator(G, f'{where}: G'),
        'D': read_tf_discriminator(D, f'{where}: D'),
    }


def _with_ema(networks: dict[str, OfficialNetwork], where: str) -> dict[str, OfficialNetwork]:
    """Makes a single G the G_ema, and checks that all networks have the same facts."""
    if 'G_ema' not in networks:
        if 'G' not in networks:
            raise CheckpointError(f'{where}: holds no generator; expected a dict with G, D and G_ema')
        networks = {'G_ema': networks.pop('G'), **networks}
    facts = networks['G_ema'].spec
    for name, net in networks.items():
        if net.spec != facts:
            raise CheckpointError(f'{where}: {name} is for {net.spec}, G_ema for {facts}; they do not belong together')
    return networks


def _described(net: OfficialNetwork) -> dict[str, Any]:
    """Returns the entry of a network in the report."""
    return {
        'class_name': net.class_name,
        'source_sha256': net.source_sha256,
        'kwargs': net.kwargs,
        'tensors': len(net.tensors),
        'numbers': sum(tensor.numel() for tensor in net.tensors.values()),
    }


def _data_arguments(value: Any, where: str) -> dict[str, Any]:
    """Returns training_set_kwargs, or an empty dict if the file has none."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise CheckpointError(f'{where}: training_set_kwargs is a {type(value).__name__}; expected a dict')
    copied: dict[str, Any] = plain(value, f'{where}: training_set_kwargs')
    return copied


def _num_images(data: dict[str, Any]) -> int:
    """Returns the number of images per epoch, including x-flips. 1 if it is not in the file: nothing depends on it."""
    size = data.get('max_size')
    return size * (2 if data.get('xflip') is True else 1) if type(size) is int and 0 < size < 2**40 else 1


def _augmentation(value: Any, where: str) -> dict[str, Any]:
    """Returns the augmentation of the run for the report. Our snapshots do not hold its state, which is p."""
    if not isinstance(value, Module):
        return {}
    p = state_dict(value, f'{where}: augment_pipe').get('p')
    name = ascii(value.class_name)[1:-1][:80]
    kwargs = arguments(value, f'{where}: augment_pipe')
    strength = float(p) if p is not None and p.numel() == 1 else None
    return {'augment_pipe': {'class_name': name, 'kwargs': kwargs, 'p': strength}}


def _record(networks: dict[str, OfficialNetwork], data: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """Returns the record that `Snapshot.config` reads: a run of StyleGAN2, StyleGAN3 or R3GAN with these networks.

    Args:
        networks: Networks by name.
        data: training_set_kwargs of the file.
        report: Report with the entries 'source' and 'networks'.
    """
    G, D = networks['G_ema'], networks.get('D')
    cfg = run_config(G.spec, G.config, None if D is None else D.config)
    path = data.get('path')
    images = DataConfig(
        path=path if type(path) is str and path else UNKNOWN_DATA,
        cond=G.spec.label_dim > 0,
        mirror=data.get('xflip') is True,
    )
    record = to_record(replace(cfg, data=images), G.spec)
    hashes = {name: net['source_sha256'] for name, net in report['networks'].items()}
    classes = {name: net['class_name'] for name, net in report['networks'].items()}
    source = {**report['source'], 'class_names': classes, 'source_texts_sha256': hashes}
    return record | {'plugin': source_of(RECIPES.module_of(cfg.cfg)), 'official': source}


def run_config(spec: ImageSpec, generator: Any, discriminator: Any | None) -> RunConfig:
    """Returns the recipe of the networks, with a batch size that they accept.

    Args:
        spec: Facts of the data set.
        generator: Config of the generator.
        discriminator: Config of the discriminator; None if the file has none.
    """
    kind = architecture_of(GENERATORS, generator).name
    if kind not in (KIND, 'stylegan2'):
        cfg = RECIPES.get(kind).make(spec, 1)
        return replace(cfg, generator=generator, discriminator=discriminator or cfg.discriminator)
    discriminator = discriminator or StyleGAN2DiscriminatorConfig()
    batch = getattr(discriminator, 'mbstd_group', None) or _BATCH
    cfg = RECIPES.get(recipe_of(generator)).make(spec, 1) if kind == KIND else recipes.stylegan2(spec, 1)
    return replace(cfg, generator=generator, discriminator=discriminator, batch=batch, batch_gpu=batch)
