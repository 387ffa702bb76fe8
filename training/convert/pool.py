"""A function applied to many jobs by several processes: results in order, memory bounded."""

from __future__ import annotations

import collections
import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from dnnlib.errors import UserError

Job = TypeVar('Job')
Result = TypeVar('Result')

_AHEAD = 3  # jobs in hand for each worker: one at work, one waiting, one done
_WORTH_A_POOL = 400  # jobs: with fewer, starting processes takes longer than it saves
_MOST_BY_DEFAULT = 32


def num_processes(num_workers: int | None, num_jobs: int) -> int:
    """How many processes to start; None asks for what pays off. 1 means none besides this one."""
    if num_workers is not None:
        return num_workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(cores, _MOST_BY_DEFAULT) if num_jobs >= _WORTH_A_POOL else 1


def map_in_order(
    function: Callable[[Job], Result], jobs: Iterable[Job], num_workers: int
) -> Generator[Result, None, None]:
    """function(job) for every job, in order. `jobs` is read here, at most a few ahead of the results.

    One worker is this process. function and jobs are pickled otherwise. Processes are spawned, not forked: that is the
    same on every system and whatever threads there are. An exception of the function is raised here. UserError when a
    worker dies.
    """
    if num_workers == 1:
        yield from map(function, jobs)
        return
    context = multiprocessing.get_context('spawn')
    executor = concurrent.futures.ProcessPoolExecutor(num_workers, context, _start_worker)
    pending: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    try:
        for job in jobs:
            pending.append(executor.submit(function, job))
            if len(pending) >= _AHEAD * num_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        hint = 'mostly because memory ran out: give fewer --workers'
        raise UserError(f'a worker process died, {hint}') from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Ctrl-C reaches the whole group of processes: the parent decides. Without a parent there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
