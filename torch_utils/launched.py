"""The place of this process among those that a launcher has started, as environment variables describe it.

`--gpus=N` and torchrun set RANK and WORLD_SIZE. Without both of them, a process is alone: other variables of launchers
(SLURM_*, OMPI_*, TORCHELASTIC_*) are not read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from dnnlib.errors import ConfigError

LAUNCHER = 'GANFOUNDRY_LAUNCHER'  # process id of `torch_utils.launch`
BEGAN = 'GANFOUNDRY_BEGAN'  # start of the launcher, in seconds since 1970
EXIT_FILE = 'GANFOUNDRY_EXIT_FILE'  # file of the run's exit code, which rank 0 writes after an orderly end
RUN_ID = 'TORCHELASTIC_RUN_ID'  # one name for all attempts of a launcher
ATTEMPT = 'TORCHELASTIC_RESTART_COUNT'

WAY_OUT = 'torchrun and --gpus=N set these variables; to train in one process, unset RANK and WORLD_SIZE'


@dataclass(frozen=True, slots=True)
class Place:
    """Number of this process, number of processes, number of this process on its machine, and number of restarts."""

    rank: int
    size: int
    local_rank: int
    attempt: int


def is_launched() -> bool:
    """Returns whether torchrun or `--gpus=N` has started this process."""
    return bool(os.environ.get('RANK') and os.environ.get('WORLD_SIZE'))


def place() -> Place:
    """Returns the place that the launcher has given to this process; alone without a launcher.

    Raises:
        ConfigError: If a variable is absent or makes no sense.
    """
    if not is_launched():
        return Place(rank=0, size=1, local_rank=0, attempt=0)
    size = _number('WORLD_SIZE', least=1)
    rank = _number('RANK', below=size)
    if size > 1:
        if not os.environ.get('MASTER_ADDR'):
            raise ConfigError(f'WORLD_SIZE={size} without MASTER_ADDR, the address of the first process; {WAY_OUT}')
        _number('MASTER_PORT', least=1, below=2**16)
    return Place(rank=rank, size=size, local_rank=_number('LOCAL_RANK', '0'), attempt=_number(ATTEMPT, '0'))


def is_ours() -> bool:
    """Returns whether the parent of this process is a launcher of this project that still runs."""
    return os.environ.get(LAUNCHER) == str(os.getppid())


def launcher_id() -> int | None:
    """Returns the process id of the launcher, without which this process has to end; None if it may outlive its parent.

    Raises:
        ConfigError: If the launcher is gone already.
    """
    if LAUNCHER in os.environ:
        if not is_ours():
            raise ConfigError(f'{LAUNCHER}={os.environ[LAUNCHER]}: the launcher of this process is gone')
        return os.getppid()
    return os.getppid() if RUN_ID in os.environ else None


def _number(name: str, absent: str = '', *, least: int = 0, below: int | None = None) -> int:
    """Returns a variable as a number.

    Args:
        name: Name of the variable.
        absent: Its value if it is not set.
        least: Smallest number that makes sense.
        below: Number that it has to be smaller than; None: any.

    Raises:
        ConfigError: If it is no such number.
    """
    text = os.environ.get(name) or absent
    if text.isascii() and text.isdecimal() and least <= int(text) and (below is None or int(text) < below):
        return int(text)
    expected = f'a number from {least}' + ('' if below is None else f' to {below - 1}')
    raise ConfigError(f'{name}={text}: expected {expected}; {WAY_OUT}')
