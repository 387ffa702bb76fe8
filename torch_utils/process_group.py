"""The process group of a run: meeting of the processes that a launcher has started."""

from __future__ import annotations

import datetime
import os
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from dnnlib.errors import ConfigError, first_line
from torch_utils import launched
from torch_utils.distributed import LONG_S, World
from torch_utils.watchdog import Watchdog

JOIN_S = 300.0  # wait for the other processes: machines of a cluster start minutes apart
PATIENCE_DAYS = 20  # time-out of collectives, whose clocks count the time in which a job is stopped (Ctrl-Z)


def join(device: torch.device, *, watched: bool = False) -> World:
    """Joins the processes that the launcher's environment describes.

    Waits at most JOIN_S seconds for the others. Every process of a machine takes the GPU of its local rank.

    Args:
        device: Device of the run.
        watched: Whether `World.watch` watches the time of a single process, too.

    Returns:
        The world; a single process without a launcher or with one process.

    Raises:
        ConfigError: If the environment makes no sense, if the processes do not meet, or if there are fewer GPUs than
            processes on this machine.
    """
    place = launched.place()
    if place.size == 1:
        return World(watched=watched)
    if device.type == 'cuda':
        if place.local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f'--gpus: process {place.local_rank} of this machine has no GPU, PyTorch sees '
                f'{torch.cuda.device_count()}; start as many processes as there are GPUs'
            )
        torch.cuda.set_device(place.local_rank)
    watchdog = Watchdog(f'rank {place.rank} of {place.size}', 2 * JOIN_S, launched.launcher_id())
    watchdog.enter('joining the other processes')
    try:
        store, rank, size = next(rendezvous('env://', timeout=datetime.timedelta(seconds=JOIN_S)))
    except (RuntimeError, ValueError, OSError) as error:
        watchdog.end()
        address = f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]}'
        raise ConfigError(
            f'rank {place.rank} of {place.size} does not meet the others at {address} (MASTER_ADDR, MASTER_PORT): '
            f'{first_line(error)}'
        ) from None
    # torchrun's agent keeps its store across a restart of the group, with the addresses of processes that are gone.
    store = PrefixStore(f'attempt {place.attempt}', store)
    return connect(store, rank, size, place.local_rank, device.type, watchdog)


def connect(
    store: Any,
    rank: int,
    size: int,
    local_rank: int = 0,
    device_type: str = 'cpu',
    watchdog: Watchdog | None = None,
) -> World:
    """Makes the process group. The watchdog keeps the time; the group and the store wait without end.

    Args:
        store: Store through which the processes find one another.
        rank: Number of this process.
        size: Number of processes.
        local_rank: Number of this process on its machine.
        device_type: 'cpu' or 'cuda'; decides between gloo and NCCL.
        watchdog: Watchdog of this process; None: a new one.

    Returns:
        The world.
    """
    watchdog = watchdog or Watchdog(f'rank {rank} of {size}', JOIN_S)
    watchdog.limit(JOIN_S, 'the start')
    watchdog.enter('joining the other processes')
    patience = datetime.timedelta(days=PATIENCE_DAYS)
    backend = 'nccl' if device_type == 'cuda' else 'gloo'
    # With its device NCCL makes the communicator here, where JOIN_S holds, instead of at the first collective.
    device = torch.device('cuda', local_rank) if backend == 'nccl' else None
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=patience, device_id=device)
    control = dist.new_group(backend='gloo', timeout=patience) if backend == 'nccl' else None
    facts = PrefixStore('ganfoundry', store)
    facts.set_timeout(patience)
    watchdog.limit(LONG_S, 'the start')
    return World(rank, size, local_rank, store=facts, control=control, watchdog=watchdog)
