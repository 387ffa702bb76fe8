"""Network snapshots: safetensors files with G_ema, D, and, in the header, the config that rebuilds them.

Drawing and measuring need G_ema only; D allows another run to start from both networks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import CheckpointError, ConfigError
from torch_utils.checkpoint import Tensors, load_tensors, save_tensors
from training.build import DTYPES, build_networks
from training.config import RunConfig
from training.interface import ImageSpec
from training.legacy.convert import load_official
from training.legacy.reader import is_pickle
from training.networks.layers import set_precision
from training.record import from_record

FORMAT = 'ganfoundry-snapshot-1'


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
            CheckpointError: if the run's plug-in is not loaded.
        """
        try:
            return from_record(self.record)
        except ConfigError as error:
            name, plugin = self.record['config']['cfg'], self.record['plugin']
            raise CheckpointError(
                f'{self.path}: made with --cfg={name} of {plugin["file"]} (sha256 {plugin["sha256"][:16]}...), which '
                f'does not load here: {error}'
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


def load_snapshot(path: Path) -> Snapshot:
    """Reads a snapshot or an official network pickle.

    Raises:
        CheckpointError: if the file is neither; the message names it.
    """
    if is_pickle(path):
        official = load_official(path)
        return Snapshot(path=path, tensors=official.tensors, record=official.record, nimg=0)
    tensors, metadata = load_tensors(path)
    if metadata.get('format') != FORMAT:
        raise CheckpointError(f'{path}: not a network snapshot of this project (no {FORMAT} in its header)')
    return Snapshot(path=path, tensors=tensors, record=json.loads(metadata['record']), nimg=int(metadata['nimg']))


def load_generator(snapshot: Snapshot, device: torch.device, precision: str) -> torch.nn.Module:
    """Returns G_ema of a snapshot in evaluation mode.

    Args:
        snapshot: the snapshot.
        device: device of the network.
        precision: 'fp32', 'bf16' or 'fp16', for the blocks that the config lowers.

    Raises:
        CheckpointError: if the tensors do not fit the network of the config.
    """
    cfg, spec = snapshot.config()
    with torch.device('meta'):
        G, _ = build_networks(cfg, spec)
    weights = {k.removeprefix('G_ema.'): v for k, v in snapshot.tensors.items() if k.startswith('G_ema.')}
    try:
        G.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f'{snapshot.path}: does not fit --cfg={cfg.cfg}: {error}') from None
    set_precision(G, DTYPES[precision])
    return G.to(device).eval().requires_grad_(False)
