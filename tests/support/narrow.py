"""Narrow networks of every `--cfg`, and snapshots of them, untrained."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tests.support.recipes import own_recipes
from torch_utils.seeding import seed_torch
from training.build import build_networks
from training.config import RunConfig
from training.interface import ImageSpec
from training.record import to_record
from training.registry import RECIPES
from training.run.snapshot import save_snapshot

NARROW = {
    'channel_base': 256, 'channel_max': 24, 'channel_min': 8, 'z_dim': 16, 'w_dim': 20, 'map_depth': 2,
    'group_channels': 4, 'se_ratio': 4, 'start_channels': 24, 'widths': (8, 4), 'stem': 16, 'tail': 8,
    'num_layers': 5, 'margin_size': 3,
}  # fmt: skip


def narrow(cfg: RunConfig) -> RunConfig:
    """Returns the architecture with few channels, a batch of 4 in two micro-batches, and frequent regularization."""
    parts = {}
    for part in ('generator', 'discriminator'):
        network = getattr(cfg, part)
        known = {k: v for k, v in NARROW.items() if k in {field.name for field in dataclasses.fields(network)}}
        if hasattr(network, 'num_blocks'):  # one number per stage
            known |= {'widths': (8,) * len(network.widths), 'num_blocks': (1,) * len(network.widths)}
        parts[part] = dataclasses.replace(network, **known)
    if hasattr(parts['discriminator'], 'mbstd_group'):
        parts['discriminator'] = dataclasses.replace(parts['discriminator'], mbstd_group=2)
    r1 = dataclasses.replace(cfg.r1, interval=2 if cfg.r1.interval else None)
    pl = dataclasses.replace(cfg.pl, interval=2 if cfg.pl.interval else None)
    return dataclasses.replace(cfg, **parts, r1=r1, pl=pl, batch=4, batch_gpu=2)


def make_snapshot(path: Path, name: str, spec: ImageSpec, classes: tuple[str, ...] = ()) -> Path:
    """Writes a snapshot of an untrained narrow network.

    Args:
        path: The file.
        name: Name of the recipe.
        spec: Facts of the images.
        classes: Names of the classes.
    """
    assert name in own_recipes()
    cfg = narrow(RECIPES.get(name).make(spec, 1))
    seed_torch(0, 'test')
    G, D = build_networks(cfg, spec)
    names = {'classes': list(classes)} if classes else {}
    save_snapshot(path, G, D, to_record(cfg, spec) | names, 1000)
    return path
