"""Network snapshots: safetensors files with G_ema, D, and, in the header, the config that rebuilds them.

Drawing and measuring need G_ema only; D allows another run to start from both networks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import CheckpointError, ConfigError, UserError
from dnnlib.records import Record, parse_record
from torch_utils.checkpoint import Tensors, load_tensors, save_tensors
from training.build import DTYPES, build_networks
from training.config import RunConfig
from training.interface import ImageSpec
from training.legacy.convert import load_official
from training.legacy.reader import is_pickle
from training.networks.layers import set_precision
from training.record import from_record
from training.registry import RECIPES

FORMAT = 'ganfoundry-snapshot-1'
GENERATOR_FORMAT = 'ganfoundry-generator-1'  # G_ema alone, its tensors without the prefix 'G_ema.'


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A snapshot in memory.

    Attributes:
        path: the file.
        tensors: tensors by name, such as 'G_ema.mapping.fc0.weight'.
        record: the run's config, facts and provenance, as in config.json.
        nimg: number of real images shown until then.
    """

    path: Path
    tensors: Tensors
    record: dict[str, Any]
    nimg: int

    def config(self) -> tuple[RunConfig, ImageSpec]:
        """Returns the config and facts of the run that made the snapshot.

        Raises:
            CheckpointError: if the record is damaged or implausible, or if the run's plug-in is not loaded.
        """
        try:
            return from_record(self.record, f'{self.path}: its record')
        except ConfigError as error:
            record = Record(self.record, f'{self.path}: its record')
            name = record.record('config').text('cfg')
            if name in RECIPES.names():
                raise CheckpointError(f'{record.where}: {error}') from None
            plugin = record.record('plugin')
            if not plugin.text('file'):
                raise CheckpointError(
                    f'{self.path}: made with --cfg={name} of the cells of a notebook; run those cells first, or copy '
                    f'them to a file and load it by --plugin=FILE'
                ) from None
            raise CheckpointError(
                f'{self.path}: made with --cfg={name} of {plugin.text("file")} '
                f'(sha256 {plugin.text("sha256")[:16]}...), which does not load here: {error}'
            ) from None


def save_snapshot(path: Path, G_ema: torch.nn.Module, D: torch.nn.Module, record: dict[str, Any], nimg: int) -> None:
    """Writes a snapshot of two networks atomically.

    Args:
        path: the file.
        G_ema: the averaged generator.
        D: the discriminator.
        record: the run's config, facts and provenance.
        nimg: number of real images shown so far.
    """
    tensors = {f'G_ema.{name}': value for name, value in G_ema.state_dict().items()}
    tensors |= {f'D.{name}': value for name, value in D.state_dict().items()}
    write_snapshot(path, tensors, record, nimg)


def write_snapshot(path: Path, tensors: Tensors, record: dict[str, Any], nimg: int) -> None:
    """Writes a snapshot of tensors by name atomically. record, nimg: as in `save_snapshot`."""
    save_tensors(path, tensors, {'format': FORMAT, 'record': json.dumps(record), 'nimg': str(nimg)})


def write_generator(
    path: Path, tensors: Tensors, record: dict[str, Any], nimg: int, further: Mapping[str, str]
) -> None:
    """Writes a generator alone, under the names of its own state dict, atomically.

    Args:
        path: the file.
        tensors: the state dict of G_ema.
        record: as in `save_snapshot`.
        nimg: as in `save_snapshot`.
        further: further entries of the header.
    """
    header = {'format': GENERATOR_FORMAT, 'record': json.dumps(record), 'nimg': str(nimg)}
    save_tensors(path, tensors, {**further, **header})


def read_networks(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Returns tensors by names such as 'G_ema.mapping.fc0.weight', and the header, of a safetensors file.

    Raises:
        CheckpointError: if the file is damaged.
    """
    tensors, metadata = load_tensors(path)
    if metadata.get('format') == GENERATOR_FORMAT:
        tensors = {f'G_ema.{name}': tensor for name, tensor in tensors.items()}
    return tensors, metadata


def load_snapshot(path: Path) -> Snapshot:
    """Reads a snapshot, an exported generator, or an official network pickle.

    Raises:
        CheckpointError: if the file is none of them; the message names it.
    """
    if is_pickle(path):
        official = load_official(path)
        return Snapshot(path=path, tensors=official.tensors, record=official.record, nimg=0)
    tensors, metadata = read_networks(path)
    if metadata.get('format') not in (FORMAT, GENERATOR_FORMAT):
        raise CheckpointError(f'{path}: not a network snapshot of this project (no {FORMAT} in its header)')
    record = parse_record(metadata.get('record', ''), f'{path}: its record')
    nimg = metadata.get('nimg', '')
    if not re.fullmatch('[0-9]{1,18}', nimg):
        raise CheckpointError(f'{path}: its header: "nimg" is no number of images')
    return Snapshot(path=path, tensors=tensors, record=record.values, nimg=int(nimg))


def load_generator(snapshot: Snapshot, device: torch.device, precision: str) -> torch.nn.Module:
    """Returns G_ema of a snapshot in evaluation mode.

    Args:
        snapshot: the snapshot.
        device: device of the network.
        precision: 'fp32', 'bf16' or 'fp16', for the blocks that the config lowers.

    Raises:
        CheckpointError: if the network of the config cannot be built, if the tensors do not fit it, or if one of them
            is not finite.
    """
    G, _ = _empty_networks(snapshot)
    return _filled(G, 'G_ema', snapshot, device, precision)


def load_discriminator(snapshot: Snapshot, device: torch.device, precision: str) -> torch.nn.Module:
    """Returns D of a snapshot in evaluation mode; arguments and errors are those of `load_generator`."""
    _, D = _empty_networks(snapshot)
    if not any(name.startswith('D.') for name in snapshot.tensors):
        raise CheckpointError(
            f'{snapshot.path}: has no discriminator; snapshots of a training have one, exported networks may not'
        )
    return _filled(D, 'D', snapshot, device, precision)


def _empty_networks(snapshot: Snapshot) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Returns G and D of a snapshot's config without values, on the meta device. Raises CheckpointError."""
    cfg, spec = snapshot.config()
    try:
        with torch.device('meta'):
            return build_networks(cfg, spec)
    except UserError as error:
        raise CheckpointError(f'{snapshot.path}: its record: {error}') from None
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:  # refused by layers
        raise CheckpointError(f'{snapshot.path}: the networks of its record cannot be built: {error}') from None


def _filled(
    net: torch.nn.Module, prefix: str, snapshot: Snapshot, device: torch.device, precision: str
) -> torch.nn.Module:
    """Returns a network with a snapshot's tensors PREFIX.NAME, in evaluation mode and without gradients.

    Raises:
        CheckpointError: if the tensors do not fit it, or if one of them is not finite.
    """
    weights = {
        name.removeprefix(f'{prefix}.'): tensor
        for name, tensor in snapshot.tensors.items()
        if name.startswith(f'{prefix}.')
    }
    try:
        net.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f'{snapshot.path}: does not fit --cfg={snapshot.config()[0].cfg}: {error}') from None
    if name := next((name for name, t in weights.items() if t.is_floating_point() and not t.isfinite().all()), None):
        raise CheckpointError(
            f'{snapshot.path}: {prefix}.{name} holds NaN or infinity: the run had diverged, and what this network '
            'returns means nothing; use an earlier snapshot of the run'
        )
    set_precision(net, DTYPES[precision])
    return net.to(device).eval().requires_grad_(False)
