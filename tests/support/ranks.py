"""Several processes for tests: forks of this one, joined by gloo through a file."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from torch_utils.distributed import World
from torch_utils.process_group import connect


def run_ranks(size: int, task: Callable[..., Any], *args: Any, timeout_s: float = 100) -> list[Any]:
    """Runs task(world, *args) in several processes and returns their results in the order of ranks.

    Args:
        size: Number of processes.
        task: The function. An error in a process is raised here.
        args: Arguments of the function after `world`.
        timeout_s: Longest wait for the answer of a process.
    """
    context = multiprocessing.get_context('fork')
    with tempfile.TemporaryDirectory() as folder:
        pipes, processes = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, f'{folder}/store', rank, size, task, args))
            with warnings.catch_warnings():
                warnings.simplefilter(
                    'ignore', DeprecationWarning
                )  # a warning about forks with threads, which sleep here
                process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        try:
            answers = [_receive(pipe, timeout_s) for pipe in pipes]
        finally:
            for process in processes:
                process.kill()
                process.join()
    errors = [error for error, _ in answers if error is not None]
    assert not errors, '\n'.join(errors)
    return [result for _, result in answers]


def _receive(pipe: Any, timeout_s: float) -> tuple[str | None, Any]:
    if not pipe.poll(timeout_s):
        return f'no answer in {timeout_s} s', None
    try:
        return pipe.recv()
    except EOFError:
        return 'the process has ended without an answer', None


def _work(pipe: Any, store: str, rank: int, size: int, task: Callable[..., Any], args: tuple) -> None:
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    world = World()
    try:
        if size > 1:
            world = connect(dist.FileStore(store, size), rank, size)
        pipe.send((None, task(world, *args)))
    except BaseException:
        pipe.send((f'rank {rank}:\n{traceback.format_exc()}', None))
    pipe.recv() if pipe.poll(30) else None  # the others may still need this process
