"""How many processes train a run, and by which micro-batches they share its batch."""

from __future__ import annotations

import math
from typing import Any

import torch

from dnnlib.errors import ConfigError
from torch_utils import distributed
from torch_utils.devices import pick_device
from torch_utils.distributed import World
from training.config import RunConfig
from training.interface import ImageSpec
from training.registry import RECIPES

SHARES = 4  # under --deterministic a batch has a multiple of so many micro-batches, for 1, 2 and 4 processes alike


def join_world(given: dict[str, Any]) -> World:
    """The processes that a launcher has started for this run; this one alone without a launcher."""
    return distributed.join(pick_device(given.get('device')))


def num_processes(given: dict[str, Any], device: torch.device, recorded: int = 1) -> int:
    """How many processes train: those that a launcher has started, or --gpus, or what the run had before."""
    num = given.get('gpus', recorded)
    if distributed.is_launched():
        started = distributed.launched_size()
        if given.get('gpus', started) != started:
            raise ConfigError(f'--gpus={num}: torchrun has started {started} processes; drop the flag')
        return started
    if num < 1:
        raise ConfigError(f'--gpus={num}: --gpus must be at least 1')
    if device.type == 'cuda' and num > torch.cuda.device_count():
        raise ConfigError(
            f'--gpus={num}: PyTorch sees {torch.cuda.device_count()} here; give as many, or start the run by torchrun '
            f'on several machines (docs/cluster.md)'
        )
    return num


def recipe(given: dict[str, Any], spec: ImageSpec, num_gpus: int) -> RunConfig:
    """The config that --cfg makes for so many processes.

    Under --deterministic for one, since nothing may follow from their number. Recipes share batches of 2^n images:
    where the user gives a batch for another number of processes, the nearest one below is asked for.
    """
    if given.get('deterministic'):
        num_gpus = 1
    elif 'batch' in given:
        num_gpus = 1 << (num_gpus.bit_length() - 1)
    return RECIPES.get(given.get('cfg', 'auto')).make(spec, num_gpus)


def shares(cfg: RunConfig, given: dict[str, Any], num_gpus: int) -> dict[str, Any]:
    """The number of processes, and a micro-batch by which they share the batch, where the user gives none.

    `cfg` has the micro-batch of its recipe, or of the run so far. It stays where it can, so that a run continues on
    another number of processes with the same micro-batches; else it is the next smaller one.
    """
    batch, parts = given.get('batch', cfg.batch), num_gpus
    if 'batch_gpu' in given:
        return {'gpus': num_gpus}
    if given.get('deterministic', cfg.deterministic):
        parts = math.lcm(SHARES, num_gpus)
        if batch % parts:
            raise ConfigError(
                f'--batch={batch}: under --deterministic it must be a multiple of {parts}, which 1, 2 and 4 processes '
                f'share alike; or choose the micro-batch yourself, by --batch-gpu'
            )
    elif 'batch' in given or batch % num_gpus:
        return {'gpus': num_gpus}  # one micro-batch a process, or refused
    group = given.get('mbstd_group', getattr(cfg.discriminator, 'mbstd_group', 1))
    sizes = range(min(cfg.batch_gpu, batch // parts), 0, -1)
    fits = (size for size in sizes if batch % (parts * size) == 0 and size % min(group, size) == 0)
    return {'gpus': num_gpus, 'batch_gpu': next(fits)}
