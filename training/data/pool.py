"""A function applied to many jobs by several processes: results in order, memory bounded.

Each worker has a pipe of its own, and no lock or queue is shared: a worker that is killed, at whatever moment, harms
nobody else and is noticed where its next result is due. (`concurrent.futures` waits for ever for the rest of a result
whose sender was killed.)
"""

from __future__ import annotations

import collections
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from dnnlib.errors import UserError

Job = TypeVar('Job')
Result = TypeVar('Result')

_AHEAD = 3  # jobs in hand for each worker: one at work, one waiting, one done
_WORTH_A_POOL = 400  # jobs: with fewer, starting processes takes longer than it saves
_MOST_BY_DEFAULT = 32


def num_processes(num_workers: int | None, num_jobs: int) -> int:
    """How many processes to use; None asks for what pays off. 1 means this one."""
    if num_workers is not None:
        return min(num_workers, num_jobs)
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
    workers: list[_Worker[Job, Result]] = []
    pending: collections.deque[_Worker[Job, Result]] = collections.deque()
    try:
        for _ in range(num_workers):
            workers.append(_Worker(function))
        for number, job in enumerate(jobs):
            if len(pending) == _AHEAD * num_workers:
                yield pending.popleft().answer()
            worker = workers[number % num_workers]
            worker.ask(job)
            pending.append(worker)
        while pending:
            yield pending.popleft().answer()
    finally:
        for worker in workers:
            worker.kill()


class _Worker(Generic[Job, Result]):
    """One process and the parent's end of its pipe."""

    def __init__(self, function: Callable[[Job], Result]) -> None:
        context = multiprocessing.get_context('spawn')
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_work, args=(function, end), daemon=True)
        self._process.start()
        end.close()  # the worker's copy is now the only one: its death closes the pipe

    def ask(self, job: Job) -> None:
        """Has the function applied to a job."""
        try:
            self._pipe.send(job)
        except OSError as error:
            raise self._death() from error

    def answer(self) -> Result:
        """Waits for the result of the oldest job, or raises what the function raised."""
        try:
            result, error = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if error is not None:
            raise error
        return result

    def kill(self) -> None:
        """Ends the process, at once: it has nothing to lose."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _death(self) -> UserError:
        self._process.join(timeout=1)  # the pipe closes an instant before the exit code is there
        hint = 'mostly because memory ran out: give fewer --workers'
        return UserError(f'a worker process died (exit code {self._process.exitcode}), {hint}')


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    """What a worker does until it is killed, or its parent is gone, which closes the pipe."""
    # Ctrl-C and SIGTERM reach the whole group of processes: the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # A thread takes jobs in, whatever else goes on: two ends that both send, and do not receive, wait for ever.
    threading.Thread(target=_receive, args=(pipe, jobs), daemon=True).start()
    while True:
        job = jobs.get()
        answer: tuple[Any, Exception | None]
        try:
            answer = function(job), None
        except Exception as error:
            answer = None, error
        pipe.send(answer)


def _receive(pipe: Connection, jobs: queue.SimpleQueue[Any]) -> None:
    """Moves jobs from the pipe to the queue; the parent never has more than `_AHEAD` under way."""
    try:
        while True:
            jobs.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)
