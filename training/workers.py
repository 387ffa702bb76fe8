"""Processes that decode images ahead of the training loop. They keep no state, take no decisions, draw nothing.

Each worker has a pipe of its own, down which go indices, and slots of shared memory, into which it writes pixels. No
lock and no queue is shared, so a worker that is killed, at whatever moment, harms nobody else and is noticed at once
where its next batch is due, and nowhere else.

Letters: B batch of one rank, C image channels, H and W image height and width.
"""

from __future__ import annotations

import collections
import math
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from multiprocessing import util
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext

import numpy as np
import torch
import torch.multiprocessing  # teaches multiprocessing to send tensors by sharing them

from dnnlib.errors import DataError
from training.dataset import ImageDataset

SLOTS = 2  # batches that a worker may be ahead


class WorkerDiedError(RuntimeError):
    """A decoding process ended, by a signal or by a bug; the message has its pid and the cause."""


class DecoderPool:
    """The batches of `batches`, in order, decoded by `num_workers` processes in turn."""

    def __init__(self, dataset: ImageDataset, batches: Iterator[np.ndarray], batch_size: int, num_workers: int) -> None:
        spec = dataset.spec
        shape = [SLOTS, batch_size, spec.channels, spec.height, spec.width]
        dtype = torch.uint16 if spec.bits == 16 else torch.uint8
        self._batches = batches
        self._workers: list[_Worker] = []
        # Also runs when this object is forgotten, and at exit, before multiprocessing sends its children the SIGTERM
        # that they ignore and then waits for them.
        self._end = util.Finalize(self, _kill_all, args=(self._workers,), exitpriority=100)
        for _ in range(num_workers):
            self._workers.append(_Worker(dataset, _shared(shape, dtype)))
        self._due: collections.deque[tuple[_Worker, np.ndarray, int]] = collections.deque()
        for slot in range(SLOTS):
            for worker in self._workers:
                self._ask(worker, slot)

    def next_images(self) -> tuple[np.ndarray, torch.Tensor]:
        """Indices int64 [B] and images uint8 or uint16 [B, C, H, W] of the next batch.

        Raises DataError for an image that cannot be used, WorkerDiedError when the worker in turn is gone.
        """
        worker, indices, slot = self._due[0]
        error = worker.answer()
        images = worker.slots[slot].clone()  # [B, C, H, W]
        self._due.popleft()
        self._ask(worker, slot)
        if error is not None:
            raise error
        return indices, images

    def pids(self) -> list[int]:
        """Process ids of the workers, in the order of their turns."""
        return [worker.pid for worker in self._workers]

    def close(self) -> None:
        """Ends the workers, at once: they have nothing to lose."""
        self._end()

    def _ask(self, worker: _Worker, slot: int) -> None:
        indices = next(self._batches)
        worker.ask(slot, indices)
        self._due.append((worker, indices, slot))


class _Worker:
    """One process and the parent's end of its pipe. slots: [SLOTS, B, C, H, W], shared with it."""

    def __init__(self, dataset: ImageDataset, slots: torch.Tensor) -> None:
        context = _context()
        self.slots = slots
        self._pipe, end = context.Pipe()
        self.process = context.Process(target=_work, args=(dataset, self._pipe, end, slots), daemon=True)
        self.process.start()
        assert self.process.pid is not None
        self.pid: int = self.process.pid
        end.close()  # the worker's copy is now the only one: its death closes the pipe

    def ask(self, slot: int, indices: np.ndarray) -> None:
        """Has the images decoded into a slot."""
        try:
            self._pipe.send((slot, indices))
        except OSError as error:
            raise self._death() from error

    def answer(self) -> DataError | None:
        """Waits for the oldest request; returns what was wrong with it."""
        try:
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self._pipe.close()

    def _death(self) -> WorkerDiedError:
        self.process.join(timeout=1)  # the pipe closes an instant before the exit code is there
        code = self.process.exitcode
        if code is not None and code < 0:
            cause = f'was killed by {signal.Signals(-code).name}'
            hint = 'SIGKILL mostly means that memory ran out (see dmesg): lower --workers, or leave it more memory'
        else:
            cause, hint = f'ended with exit code {code}', 'its traceback stands above'
        return WorkerDiedError(f'data worker {self.pid} {cause}; {hint}')


def read_images(dataset: ImageDataset, indices: np.ndarray) -> torch.Tensor:
    """The images at `indices`, uint8 or uint16 [B, C, H, W], decoded here and now."""
    return torch.from_numpy(np.stack([dataset.image(int(index)) for index in indices]))


def _work(dataset: ImageDataset, parents_end: Connection, pipe: Connection, slots: torch.Tensor) -> None:
    """What a worker does until its parent is gone, which closes the pipe."""
    parents_end.close()  # a fork copies that as well, and a pipe stays open as long as any copy does
    # Ctrl-C and SIGTERM reach the whole process group, or control group; the parent saves first, then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    while True:
        try:
            slot, indices = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            for image, index in zip(slots[slot].numpy(), indices, strict=True):
                image[:] = dataset.image(int(index))  # [C, H, W]
            error = None
        except DataError as bad:
            error = bad
        try:
            pipe.send(error)
        except OSError:
            return


def _context() -> ForkContext | SpawnContext:
    """How workers are started: fork on Linux before CUDA is up, spawn otherwise.

    A fork shares the data set's index and takes milliseconds. Its danger is a lock, or a pool of threads, that the
    child inherits in mid-use; workers stay clear of both: they decode with Pillow and NumPy, give torch one thread, and
    touch neither CUDA nor torch.distributed. A CUDA context does not survive a fork at all, hence spawn. Not
    forkserver: a SIGTERM to the process group would end the server, and its children are not ours to wait for.
    """
    fork = sys.platform == 'linux' and not torch.cuda.is_initialized()
    return multiprocessing.get_context('fork') if fork else multiprocessing.get_context('spawn')


def _shared(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    """Memory that a child sees too."""
    try:
        return torch.empty(shape, dtype=dtype).share_memory_()
    except RuntimeError as error:
        size = f'{math.prod(shape) * dtype.itemsize / 2**20:.0f} MB'
        hint = 'give the container more (docker run --shm-size=1g, or --ipc=host), or lower --workers'
        raise RuntimeError(f'no shared memory for a data worker ({size}): {hint}') from error


def _kill_all(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.kill()
