"""Images looked at by several processes: results in order, a bounded number under way."""

from __future__ import annotations

import collections
import concurrent.futures
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import numpy as np

from dnnlib.errors import UserError
from training.data.source import ImageSource

T = TypeVar('T')

_CHUNK = 16  # images that a process is given at a time
_AHEAD = 3  # chunks under way for each process
_WORTH_IT = 512  # images, below which starting processes costs more than it saves

_source: ImageSource | None = None  # of a worker process


def map_images(
    function: Callable[[ImageSource, int], T], source: ImageSource, positions: np.ndarray, workers: int
) -> Iterator[T]:
    """function(source, position) of each position, in their order.

    function: can be pickled, and raises nothing but UserError. workers: processes; 0 does it in this one, as few images
    always do.
    Processes are spawned, not forked: a fork inherits the locks of whatever threads run. Each gets its own copy of the
    source's index, some 60 bytes an image. Raises UserError when one of them is killed.
    """
    if workers == 0 or len(positions) < _WORTH_IT:
        yield from (function(source, int(position)) for position in positions)
        return
    executor = concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context('spawn'), initializer=_begin, initargs=(source,)
    )
    under_way: collections.deque[concurrent.futures.Future[list[T]]] = collections.deque()
    try:
        for start in range(0, len(positions), _CHUNK):
            under_way.append(executor.submit(_do, function, positions[start : start + _CHUNK]))
            if len(under_way) >= _AHEAD * workers:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
    except BrokenProcessPool as error:
        raise UserError('a decoding process was killed, mostly for want of memory; give fewer --workers') from error
    finally:
        executor.shutdown(cancel_futures=True)


def default_workers() -> int:
    """As many processes as there are cores, at most 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(cores, 16) if cores > 1 else 0


def _begin(source: ImageSource) -> None:
    global _source
    _source = source
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends its children


def _do(function: Callable[[ImageSource, int], T], positions: np.ndarray) -> list[T]:
    assert _source is not None
    return [function(_source, int(position)) for position in positions]
