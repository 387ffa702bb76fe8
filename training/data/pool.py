"""A pool of processes that apply a function to many jobs: results in order, memory bounded.

Each worker has a pipe of its own, and no lock or queue is shared: a worker that is killed, at any moment, disturbs no
other one and is noticed when its next result is due. (`concurrent.futures` waits forever for the rest of a result whose
sender was killed.)
"""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from dnnlib.errors import UserError
from dnnlib.signals import ignore_stops

_Job = TypeVar('_Job')
_Result = TypeVar('_Result')

MIN_JOBS = 400  # number of jobs below which starting processes takes longer than it saves

_AHEAD = 3  # chunks in flight per worker: one in progress, one waiting, one done
_MAX_DEFAULT_WORKERS = 32


def resolve_num_workers(requested: int | None, num_jobs: int) -> int:
    """Returns the number of processes to use; 0 and 1 mean this process. None requests as many as pay off."""
    if requested is not None:
        return min(requested, num_jobs)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(cores, _MAX_DEFAULT_WORKERS) if num_jobs >= MIN_JOBS else 1


def map_in_order(
    function: Callable[[_Job], _Result], jobs: Iterable[_Job], num_workers: int, chunk_size: int = 1
) -> Generator[_Result, None, None]:
    """Yields function(job) for every job, in the order of the jobs.

    Processes are spawned, not forked, which works on every system and with any threads. An exception of the function is
    raised in this process.

    Args:
        function: Function of a job. It is pickled once per worker.
        jobs: Jobs. They are read and pickled in this process, at most a few chunks ahead of the results.
        num_workers: Number of processes; 0 and 1 mean this process.
        chunk_size: Jobs that are sent to a worker together. More than 1 saves messages when jobs are short.

    Raises:
        UserError: A worker died.
    """
    if num_workers <= 1:
        yield from map(function, jobs)
        return
    workers: list[_Worker[_Job, _Result]] = []
    pending: collections.deque[_Worker[_Job, _Result]] = collections.deque()
    try:
        for _ in range(num_workers):
            workers.append(_Worker(function))
        for number, chunk in enumerate(_chunks(jobs, chunk_size)):
            if len(pending) == _AHEAD * num_workers:
                yield from pending.popleft().answer()
            worker = workers[number % num_workers]
            worker.ask(chunk)
            pending.append(worker)
        while pending:
            yield from pending.popleft().answer()
    finally:
        for worker in workers:
            worker.kill()


def _chunks(jobs: Iterable[_Job], size: int) -> Iterator[list[_Job]]:
    """Yields the jobs in lists of `size`; the last one may be shorter."""
    remaining = iter(jobs)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk


class _Worker(Generic[_Job, _Result]):
    """One process and the parent's end of its pipe."""

    def __init__(self, function: Callable[[_Job], _Result]) -> None:
        context = multiprocessing.get_context('spawn')
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_work, args=(function, end), daemon=True)
        self._process.start()
        end.close()  # the worker's copy is now the only one: its death closes the pipe

    def ask(self, chunk: list[_Job]) -> None:
        """Requests the results of some jobs."""
        try:
            self._pipe.send(chunk)
        except OSError as error:
            raise self._death() from error

    def answer(self) -> list[_Result]:
        """Waits for the results of the oldest request, or raises what the function raised."""
        results: list[_Result]
        try:
            results, error = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if error is not None:
            raise error
        return results

    def kill(self) -> None:
        """Kills the process, which holds no state."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _death(self) -> UserError:
        """Returns the error that reports the death of the process."""
        self._process.join(timeout=1)  # the pipe closes shortly before the exit code is available
        hint = 'mostly because memory ran out: give fewer --workers'
        return UserError(f'a worker process died (exit code {self._process.exitcode}), {hint}')


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    """Runs a worker until it is killed, or its parent is gone, which closes the pipe."""
    ignore_stops()
    chunks: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
    # A thread receives jobs all the time: two ends that both send and do not receive would wait forever.
    threading.Thread(target=_receive, args=(pipe, chunks), daemon=True).start()
    while True:
        chunk = chunks.get()
        answer: tuple[list[Any], Exception | None]
        try:
            answer = [function(job) for job in chunk], None
        except Exception as error:
            answer = [], error
        pipe.send(answer)


def _receive(pipe: Connection, chunks: queue.SimpleQueue[list[Any]]) -> None:
    """Moves jobs from the pipe to the queue; the parent sends at most `_AHEAD` chunks ahead."""
    try:
        while True:
            chunks.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)
