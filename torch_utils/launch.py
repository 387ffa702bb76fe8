"""`--gpus=N`: the same command line in N processes of this machine, on PyTorch's elastic engine, as torchrun does."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

BEGAN = 'GANFOUNDRY_BEGAN'  # start of the launcher, in seconds since 1970
EXIT_FILE = 'GANFOUNDRY_EXIT_FILE'  # file of the run's exit code, which rank 0 writes after an orderly end


def launch(num_processes: int, max_restarts: int, argv: list[str]) -> int:
    """Runs `python argv` in several processes.

    If a process dies, the others are stopped and the group is restarted; each process then continues the run. SIGINT
    and SIGTERM are forwarded to all processes, which have 30 s to save.

    Args:
        num_processes: Number of processes.
        max_restarts: Maximum number of restarts of the group.
        argv: Arguments of the interpreter: a script with its own arguments.

    Returns:
        The exit code that the run itself decided (0, 130, 143, ...). If the run failed, the code of its first failure,
        which is 128 + the number of a signal.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    with tempfile.TemporaryDirectory(prefix='ganfoundry-') as folder:
        exit_file = Path(folder) / 'code'
        os.environ |= {EXIT_FILE: str(exit_file), BEGAN: str(began())}
        # A new store for every attempt: the engine's store outlives a restart, and ranks would read stale keys.
        os.environ['TORCH_DISABLE_SHARE_RDZV_TCP_STORE'] = '1'
        os.environ.setdefault('OMP_NUM_THREADS', str(max((os.cpu_count() or 1) // num_processes, 1)))
        try:
            elastic_launch(_config(num_processes, max_restarts), sys.executable)(*argv)
            return int(exit_file.read_text())
        except SignalException as stopped:
            decided = exit_file.exists()
            return int(exit_file.read_text()) if decided else 128 + signal.Signals(stopped.sigval).value
        except ChildFailedError as failed:
            rank, failure = failed.get_first_failure()
            code = failure.exitcode
            how = f'was killed by {signal.Signals(-code).name}' if code < 0 else f'ended with exit code {code}'
            print(
                f'Error: rank {rank} {how}, and no restart was left of {max_restarts} (--max-restarts)', file=sys.stderr
            )
            return 128 - code if code < 0 else code
        finally:
            del os.environ[EXIT_FILE], os.environ[BEGAN]


def began() -> float:
    """Returns the start of the user's command, of this process or its launcher, in seconds since 1970."""
    import psutil

    return float(os.environ.get(BEGAN) or psutil.Process().create_time())


def leave(code: int, rank: int) -> int:
    """Returns the exit code of a process of a run that ended in good order with the given code.

    Under `launch` it is 0: otherwise the engine would restart a run that was asked to stop. Rank 0 passes the code on.
    """
    if EXIT_FILE not in os.environ:
        return code
    if rank == 0:
        Path(os.environ[EXIT_FILE]).write_text(str(code))
    return 0


def _config(num_processes: int, max_restarts: int) -> Any:
    from torch.distributed.launcher.api import LaunchConfig

    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend='c10d',
        rdzv_endpoint='localhost:0',
        rdzv_configs={'timeout': 300},
        local_addr='localhost',
        max_restarts=max_restarts,
        monitor_interval=0.1,
    )
