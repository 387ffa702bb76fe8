"""Processes that decode images ahead of the training loop. They keep no state, take no decisions, draw nothing.

Each worker has a pipe of its own, down which go indices, and slots of shared memory, into which it writes pixels. No
lock and no queue is shared, so a worker that is killed, at whatever moment, harms nobody else and is noticed at once
where its next batch is due, and nowhere else. Another takes its place, and is asked again what it had been asked.

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
from training.data.bad_images import Read, read_into
from training.data.dataset import ImageDataset

SLOTS = 2  # batches that a worker may be ahead
MAX_DEATHS = 3  # of workers in a row over one batch, that others are started after


class WorkerDiedError(RuntimeError):
    """A decoding process ended, by a signal or by a bug; the message has its pid and the cause."""

    def __init__(self, message: str, *, killed: bool) -> None:
        super().__init__(message)
        self.killed = killed


class DecoderPool:
    """The batches of `batches`, in order, decoded by `num_workers` processes in turn.

    most_bad: images in a row that another may stand in for, see `read_into`. warn: is told of workers that were killed.
    replaced: workers that others have taken the place of.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        batches: Iterator[np.ndarray],
        batch_size: int,
        num_workers: int,
        max_bad: int,
        warn: Callable[[str], None],
    ) -> None:
        spec = dataset.spec
        shape = [SLOTS, batch_size, spec.channels, spec.height, spec.width]
        dtype = torch.uint16 if spec.bits == 16 else torch.uint8
        self._dataset, self._max_bad, self._warn = dataset, max_bad, warn
        self.replaced = 0
        self._deaths = 0  # since a batch was last delivered
        self._workers: list[_Worker] = []
        # Also runs when this object is forgotten, and at exit, before multiprocessing sends its children the SIGTERM
        # that they ignore and then waits for them.
        self._end = util.Finalize(self, _kill_all, args=(self._workers,), exitpriority=100)
        for _ in range(num_workers):
            self._workers.append(_Worker(dataset, _shared(shape, dtype), max_bad))
        self._due: collections.deque[tuple[int, np.ndarray, int]] = collections.deque()  # worker, indices, slot
        self._begin(batches)

    def next_images(self) -> tuple[Read, torch.Tensor]:
        """What was read, and the images uint8 or uint16 [B, C, H, W] of the next batch.

        Raises DataError for an image that cannot be used, WorkerDiedError when workers die over the batch again and
        again, or by a bug, which a new one would only meet again.
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
        """Goes on with other batches; what had been asked for is thrown away."""
        while self._due:
            self._answer(self._due[0][0])
            self._due.popleft()
        self._begin(batches)

    def pids(self) -> list[int]:
        """Process ids of the workers, in the order of their turns."""
        return [worker.pid for worker in self._workers]

    def close(self) -> None:
        """Ends the workers, at once: they have nothing to lose."""
        self._end()

    def _begin(self, batches: Iterator[np.ndarray]) -> None:
        self._batches = batches
        for slot in range(SLOTS):
            for number in range(len(self._workers)):
                self._ask(number, slot)

    def _ask(self, number: int, slot: int) -> None:
        indices = next(self._batches)
        self._workers[number].ask(slot, indices)
        self._due.append((number, indices, slot))

    def _answer(self, number: int) -> Read | DataError:
        """The oldest answer that a worker owes, from another in its place if it is gone."""
        while True:
            try:
                answer = self._workers[number].answer()
            except WorkerDiedError as death:
                self._replace(number, death)
            else:
                self._deaths = 0
                return answer

    def _replace(self, number: int, death: WorkerDiedError) -> None:
        """Starts another worker on the slots of one that was killed, and asks it again for what that one owed."""
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
    """One process and the parent's end of its pipe. slots: [SLOTS, B, C, H, W], shared with it."""

    def __init__(self, dataset: ImageDataset, slots: torch.Tensor, max_bad: int) -> None:
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
        """Has the images decoded into a slot. A worker that is gone is noticed where its answer is waited for."""
        with contextlib.suppress(OSError):
            self._pipe.send((slot, indices))

    def answer(self) -> Read | DataError:
        """Waits for the oldest request; returns what was read, or what was wrong with it."""
        try:
            answer: Read | DataError = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        return answer

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self._pipe.close()

    def _death(self) -> WorkerDiedError:
        self.process.join(timeout=10)  # the pipe closes before the exit code is there, mostly by an instant
        code = self.process.exitcode
        killed = code is not None and code < 0
        if code is not None and killed:
            cause = f'was killed by {signal.Signals(-code).name}'
            hint = 'SIGKILL mostly means that memory ran out (see dmesg): lower --workers, or leave it more memory'
        else:
            cause, hint = f'ended with exit code {code}', 'its traceback stands above'
        return WorkerDiedError(f'data worker {self.pid} {cause}; {hint}', killed=killed)


def _work(dataset: ImageDataset, parents_end: Connection, pipe: Connection, slots: torch.Tensor, max_bad: int) -> None:
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
        shared: torch.Tensor = torch.empty(shape, dtype=dtype).share_memory_()
    except RuntimeError as error:
        size = f'{math.prod(shape) * dtype.itemsize / 2**20:.0f} MB'
        hint = 'give the container more (docker run --shm-size=1g, or --ipc=host), or lower --workers'
        raise RuntimeError(f'no shared memory for a data worker ({size}): {hint}') from error
    return shared


def _kill_all(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.kill()
