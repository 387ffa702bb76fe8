"""Processes that decode images ahead of the training loop. They keep no state, decide nothing and draw nothing.

Each worker receives indices through a pipe of its own and writes pixels into its slots of shared memory. No lock and no
queue is shared, so a worker that is killed, at any moment, disturbs no other one and is noticed when its next batch is
due. A new worker replaces it and repeats its pending requests.

Letters: B batch of one rank, C image channels, H and W image height and width.
"""

from __future__ import annotations

import collections
import contextlib
import math
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing import util
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext

import numpy as np
import torch
import torch.multiprocessing  # teaches multiprocessing to send tensors by sharing them

from dnnlib.errors import DataError
from dnnlib.signals import ignore_stops
from training.data.bad_images import Read, read_into
from training.data.dataset import ImageDataset

SLOTS = 2  # batches that a worker may decode ahead
MAX_DEATHS = 3  # consecutive deaths of workers over one batch after which a new one is started


class WorkerDiedError(RuntimeError):
    """The end of a decoding process by a signal or by a bug; the message gives its pid and the cause."""

    def __init__(self, message: str, *, killed: bool) -> None:
        super().__init__(message)
        self.killed = killed


class DecoderPool:
    """A sequence of batches, decoded in order by several processes in turn. `replaced` counts replaced workers."""

    def __init__(
        self,
        dataset: ImageDataset,
        batches: Iterator[np.ndarray],
        batch_size: int,
        num_workers: int,
        max_bad: int,
        warn: Callable[[str], None],
    ) -> None:
        """Starts the workers and requests the first batches.

        Args:
            dataset: Data set to read from.
            batches: Indices of each batch, int64 [B], endless.
            batch_size: Number of images per batch, B.
            num_workers: Number of processes.
            max_bad: Number of consecutive bad images that may be replaced, see `read_into`.
            warn: Callback that receives a message for every worker that was killed.
        """
        spec = dataset.spec
        shape = [SLOTS, batch_size, spec.channels, spec.height, spec.width]
        dtype = torch.uint16 if spec.bits == 16 else torch.uint8
        self._dataset, self._max_bad, self._warn = dataset, max_bad, warn
        self.replaced = 0
        self._deaths = 0  # number since the last delivered batch
        self._workers: list[_Worker] = []
        # Also runs when this object is collected, and at exit, before multiprocessing sends its children the SIGTERM
        # that they ignore and then waits for them.
        self._end = util.Finalize(self, _kill_all, args=(self._workers,), exitpriority=100)
        for _ in range(num_workers):
            self._workers.append(_Worker(dataset, _shared(shape, dtype), max_bad))
        self._due: collections.deque[tuple[int, np.ndarray, int]] = collections.deque()  # worker, indices, slot
        self._begin(batches)

    def next_images(self) -> tuple[Read, torch.Tensor]:
        """Returns the result of reading the next batch, and its images uint8 or uint16 [B, C, H, W].

        Raises DataError for an image that cannot be used. Raises WorkerDiedError when workers die repeatedly over the
        batch, or when one dies by a bug, which a new worker would only meet again.
        """
        number, _, slot = self._due[0]
        answer = self._answer(number)
        images = self._workers[number].slots[slot].clone()  # [B, C, H, W]
        self._due.popleft()
        self._ask(number, slot)
        if isinstance(answer, DataError):
            raise answer
        return answer, images

    def restart(self, batches: Iterator[np.ndarray]) -> None:
        """Continues with other batches; the results of pending requests are discarded."""
        while self._due:
            self._answer(self._due[0][0])
            self._due.popleft()
        self._begin(batches)

    def pids(self) -> list[int]:
        """Returns the process ids of the workers, in the order of their turns."""
        return [worker.pid for worker in self._workers]

    def close(self) -> None:
        """Kills the workers, which hold no state."""
        self._end()

    def _begin(self, batches: Iterator[np.ndarray]) -> None:
        """Requests the first batches of every worker."""
        self._batches = batches
        for slot in range(SLOTS):
            for number in range(len(self._workers)):
                self._ask(number, slot)

    def _ask(self, number: int, slot: int) -> None:
        """Requests the next batch from a worker."""
        indices = next(self._batches)
        self._workers[number].ask(slot, indices)
        self._due.append((number, indices, slot))

    def _answer(self, number: int) -> Read | DataError:
        """Waits for the oldest pending result of a worker, or of its replacement if it is gone."""
        while True:
            try:
                answer = self._workers[number].answer()
            except WorkerDiedError as death:
                self._replace(number, death)
            else:
                self._deaths = 0
                return answer

    def _replace(self, number: int, death: WorkerDiedError) -> None:
        """Starts a new worker on the slots of a killed one, and repeats the pending requests."""
        owed = [(slot, indices) for other, indices, slot in self._due if other == number]
        self._deaths += 1
        if not death.killed:
            raise death
        if self._deaths > MAX_DEATHS:
            names = ', '.join(self._dataset.filename(int(index)) for index in owed[0][1])
            text = f'{death}. That was the {self._deaths}th in a row over one batch, of {names}'
            raise WorkerDiedError(text, killed=True) from death
        self._warn(f'{death}. Another takes its place, the images stay the same')
        dead = self._workers[number]
        dead.kill()
        self._workers[number] = _Worker(self._dataset, dead.slots, self._max_bad)
        self.replaced += 1
        for slot, indices in owed:
            self._workers[number].ask(slot, indices)


class _Worker:
    """One process and the parent's end of its pipe."""

    def __init__(self, dataset: ImageDataset, slots: torch.Tensor, max_bad: int) -> None:
        """Starts the process.

        Args:
            dataset: Data set to read from.
            slots: Shared memory for the images, [SLOTS, B, C, H, W].
            max_bad: Number of consecutive bad images that may be replaced, see `read_into`.
        """
        context = _context()
        self.slots = slots
        self._pipe, end = context.Pipe()
        args = (dataset, self._pipe, end, slots, max_bad)
        self.process = context.Process(target=_work, args=args, daemon=True)
        self.process.start()
        assert self.process.pid is not None
        self.pid: int = self.process.pid
        end.close()  # the worker's copy is now the only one: its death closes the pipe

    def ask(self, slot: int, indices: np.ndarray) -> None:
        """Requests images in a slot. A worker that is gone is noticed when its answer is due."""
        with contextlib.suppress(OSError):
            self._pipe.send((slot, indices))

    def answer(self) -> Read | DataError:
        """Waits for the oldest request; returns the result of reading, or the fault."""
        try:
            answer: Read | DataError = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        return answer

    def kill(self) -> None:
        """Kills the process and closes the pipe."""
        self.process.kill()
        self.process.join()
        self._pipe.close()

    def _death(self) -> WorkerDiedError:
        """Returns the error that reports the end of the process."""
        self.process.join(timeout=10)  # the pipe closes shortly before the exit code is available
        code = self.process.exitcode
        killed = code is not None and code < 0
        if code is not None and killed:
            cause = f'was killed by {signal.Signals(-code).name}'
            hint = 'SIGKILL mostly means that memory ran out (see dmesg): lower --workers, or leave it more memory'
        else:
            cause, hint = f'ended with exit code {code}', 'its traceback is above'
        return WorkerDiedError(f'data worker {self.pid} {cause}; {hint}', killed=killed)


def _work(dataset: ImageDataset, parents_end: Connection, pipe: Connection, slots: torch.Tensor, max_bad: int) -> None:
    """Runs a worker until its parent is gone, which closes the pipe.

    Args:
        dataset: Data set to read from.
        parents_end: The parent's end of the pipe, a copy of which a fork inherits.
        pipe: This worker's end of the pipe.
        slots: Shared memory for the images, [SLOTS, B, C, H, W].
        max_bad: Number of consecutive bad images that may be replaced, see `read_into`.
    """
    parents_end.close()  # a pipe stays open as long as any copy of its end
    # They reach the whole process group, or control group; the parent saves first, then ends its workers.
    ignore_stops()
    torch.set_num_threads(1)
    while True:
        try:
            slot, indices = pipe.recv()
        except (EOFError, OSError):
            return
        answer: Read | DataError
        try:
            answer = read_into(slots[slot].numpy(), dataset, indices, max_bad)
        except DataError as error:
            answer = error
        try:
            pipe.send(answer)
        except OSError:
            return


def _context() -> ForkContext | SpawnContext:
    """Returns the start method of workers: fork on Linux before CUDA is initialized, spawn otherwise.

    A fork shares the data set's index and takes milliseconds. Its danger is a lock, or a pool of threads, that the
    child inherits in use. Workers avoid both: they decode with Pillow and NumPy, give torch one thread, and use neither
    CUDA nor torch.distributed. A CUDA context does not survive a fork, hence spawn. forkserver is not used: a SIGTERM
    to the process group would end the server, and this process could not wait for the server's children.
    """
    fork = sys.platform == 'linux' and not torch.cuda.is_initialized()
    return multiprocessing.get_context('fork') if fork else multiprocessing.get_context('spawn')


def _shared(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    """Allocates a tensor in memory that is shared with child processes."""
    try:
        shared: torch.Tensor = torch.empty(shape, dtype=dtype).share_memory_()
    except RuntimeError as error:
        size = f'{math.prod(shape) * dtype.itemsize / 2**20:.0f} MB'
        hint = 'give the container more (docker run --shm-size=1g, or --ipc=host), or lower --workers'
        raise RuntimeError(f'no shared memory for a data worker ({size}): {hint}') from error
    return shared


def _kill_all(workers: list[_Worker]) -> None:
    """Kills all workers of a list."""
    for worker in workers:
        worker.kill()
