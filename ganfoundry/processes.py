"""The processes that train a run, and the micro-batches by which they share its batch."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import ConfigError
from torch_utils import launched, process_group
from torch_utils.devices import pick_device
from torch_utils.distributed import World
from training.config import RunConfig
from training.interface import ImageSpec
from training.registry import RECIPES

SHARES = 4  # --deterministic: the number of micro-batches is a multiple of this, which 1, 2 and 4 processes share


def join_world(device: str | None, *, watched: bool = False) -> World:
    """Returns the processes that a launcher has started for this run, or this process alone.

    Args:
        device: Value of --device; None if it is not given.
        watched: Whether the time of a process alone is watched, too.
    """
    return process_group.join(pick_device(device), watched=watched)


def command_line() -> list[str]:
    """Returns the arguments with which `python` starts the present command again.

    `python -m ganfoundry` has the path of ganfoundry/__main__.py in sys.argv[0]; started by that path, Python would not
    find the package.
    """
    if Path(sys.argv[0]).resolve() == Path(__file__).resolve().with_name('__main__.py'):
        return ['-m', 'ganfoundry', *sys.argv[1:]]
    return sys.argv


def num_processes(gpus: int | None, device: torch.device, recorded: int = 1) -> int:
    """Returns the number of processes that train: those that a launcher has started, or --gpus, or `recorded`.

    Args:
        gpus: Value of --gpus; None if it is not given.
        device: The device that trains; of GPUs there must be as many as processes.
        recorded: Number of processes that trained the run before.

    Raises:
        ConfigError: If a launcher has started another number than --gpus, or if the machine has fewer GPUs.
    """
    num = recorded if gpus is None else gpus
    if launched.is_launched():
        started = launched.place().size
        if gpus not in (None, started):
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


def recipe(cfg: str | None, spec: ImageSpec, num_gpus: int, *, deterministic: bool, own_batch: bool) -> RunConfig:
    """Returns the config that --cfg makes for a number of processes.

    Args:
        cfg: Name of the recipe; None for 'auto'.
        spec: Facts of the data.
        num_gpus: Number of processes.
        deterministic: The recipe is made for one process, since nothing may depend on their number.
        own_batch: The user gives --batch. Recipes share batches of 2^n images, so the recipe is then made for the
            largest power of two up to `num_gpus`.
    """
    if deterministic:
        num_gpus = 1
    elif own_batch:
        num_gpus = 1 << (num_gpus.bit_length() - 1)
    return RECIPES.get('auto' if cfg is None else cfg).make(spec, num_gpus)


def shares(
    cfg: RunConfig,
    num_gpus: int,
    *,
    batch: int | None,
    batch_gpu: int | None,
    deterministic: bool | None,
    mbstd_group: int | None,
) -> dict[str, Any]:
    """Returns changes to `cfg`: the number of processes and, unless the user gives it, a micro-batch that they share.

    `cfg` has the micro-batch of its recipe, or of the run so far. It is kept if possible, so that a run continues on
    another number of processes with the same micro-batches; otherwise it is the next smaller one.

    Args:
        cfg: Config before the flags are applied.
        num_gpus: Number of processes.
        batch: Value of --batch, in images; None if it is not given, as for the other flags.
        batch_gpu: Value of --batch-gpu, in images.
        deterministic: Value of --deterministic.
        mbstd_group: Value of --mbstd-group, in images.

    Raises:
        ConfigError: If 1, 2 and 4 processes cannot share the batch under --deterministic.
    """
    size, parts = cfg.batch if batch is None else batch, num_gpus
    if batch_gpu is not None:
        return {'gpus': num_gpus}
    if cfg.deterministic if deterministic is None else deterministic:
        parts = math.lcm(SHARES, num_gpus)
        if size % parts:
            raise ConfigError(
                f'--batch={size}: under --deterministic it must be a multiple of {parts}, so that 1, 2 and 4 processes '
                f'share it equally; or choose the micro-batch yourself, by --batch-gpu'
            )
    elif batch is not None or size % num_gpus:
        return {'gpus': num_gpus}  # one micro-batch per process, or refused
    group = getattr(cfg.discriminator, 'mbstd_group', 1) if mbstd_group is None else mbstd_group
    sizes = range(min(cfg.batch_gpu, size // parts), 0, -1)
    fits = (n for n in sizes if size % (parts * n) == 0 and n % min(group, n) == 0)
    return {'gpus': num_gpus, 'batch_gpu': next(fits)}
