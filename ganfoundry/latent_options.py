"""The options that choose latents: --seeds, --class and --projected-w, from their text to latents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dnnlib.errors import ConfigError, DataError
from training.run.latents import Latents, Space, read_latents

MAX_SEED = 2**32 - 1  # the largest that NumPy's RandomState takes


class Batch(NamedTuple):
    """Latents of images that are drawn together. seed: of the noise. c: one label for all, or one for each image."""

    seed: int
    space: Space
    points: torch.Tensor  # z [N, z_dim] or w [N, num_ws, w_dim], float32
    c: torch.Tensor  # [1, label_dim] or [N, label_dim], float32


def parse_seeds(text: str) -> list[int]:
    """Returns [0, 3, 8, 9, 10, 11] for '0,3,8-11'."""
    seeds: list[int] = []
    for part in text.split(','):
        match = re.fullmatch(r'\s*(\d+)(?:\s*-\s*(\d+))?\s*', part)
        if match is None:
            raise ConfigError(f'--seeds={text}: expected numbers and ranges such as 0,3,8-15')
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last > MAX_SEED:
            raise ConfigError(f'--seeds={text}: a range goes up, and a seed lies in 0 to {MAX_SEED}')
        seeds += range(first, last + 1)
    return seeds


def chosen_seeds(text: str | None, grid: tuple[int, int] | None) -> list[int]:
    """Returns the seeds of --seeds, or 0, 1, 2, ... for a grid without them. A grid must have a place for each seed."""
    if text is None:
        if grid is None:
            raise ConfigError('--seeds is needed, for instance --seeds=0-15; or ask for a sheet with --grid=8x8')
        return list(range(grid[0] * grid[1]))
    seeds = parse_seeds(text)
    if grid is not None and len(seeds) > grid[0] * grid[1]:
        raise ConfigError(f'--grid={grid[0]}x{grid[1]} has fewer places than the {len(seeds)} --seeds; enlarge it')
    return seeds


def one_hot(c_dim: int, class_idx: int | None, name: str = '--class') -> torch.Tensor:
    """Returns a label, float32 [1, c_dim].

    Args:
        c_dim: Number of classes; 0 for an unconditional network, which takes no class.
        class_idx: The class, 0 to c_dim - 1.
        name: The option or argument that gives the class, for messages.

    Raises:
        ConfigError: If a class is missing, or if the network does not have it.
    """
    if c_dim > 0 and class_idx is None:
        raise ConfigError(f'{name} is needed: this network is conditional, on classes 0 to {c_dim - 1}')
    if class_idx is not None and not 0 <= class_idx < c_dim:
        knows = f'knows classes 0 to {c_dim - 1}' if c_dim > 0 else 'is unconditional'
        raise ConfigError(f'{name}={class_idx}: this network {knows}')
    label = torch.zeros([1, c_dim])
    if class_idx is not None:
        label[0, class_idx] = 1
    return label


def z_of(seeds: Sequence[int], z_dim: int) -> torch.Tensor:
    """Returns StyleGAN2-ADA's latents of seeds, RandomState(seed).randn(1, z_dim), as float32 [N, z_dim]."""
    latents = np.concatenate([np.random.RandomState(seed).randn(1, z_dim) for seed in seeds])
    return torch.from_numpy(latents.astype(np.float32))


def batches_of_seeds(seeds: Sequence[int], z_dim: int, c: torch.Tensor, batch: int) -> Iterator[Batch]:
    """Yields the latents of seeds, each batch when it is asked for.

    Args:
        seeds: Numbers from 0 to 2^32 - 1.
        z_dim: Width of a latent.
        c: Label of all images, [1, label_dim], or labels [N, label_dim].
        batch: Number of images in a batch.
    """
    for start in range(0, len(seeds), batch):
        part = seeds[start : start + batch]
        labels = c if len(c) == 1 else c[start : start + batch]
        yield Batch(part[0], 'z', z_of(part, z_dim), labels)


def batches_of_latents(latents: Latents, c: torch.Tensor, batch: int) -> Iterator[Batch]:
    """Yields latents in batches.

    Args:
        latents: Latents of all images.
        c: Label of all images, [1, label_dim], or labels [N, label_dim].
        batch: Number of images in a batch.
    """
    for index, points in enumerate(latents.points.split(batch)):
        labels = c if len(c) == 1 else c[index * batch : (index + 1) * batch]
        yield Batch(index, latents.space, points, labels)


def read_projected(name: str, G: Any) -> Latents:
    """Reads the file of --projected-w; a ConfigError names the option."""
    try:
        return read_latents(Path(name), G)
    except DataError as error:
        raise ConfigError(f'--projected-w={error}') from None
