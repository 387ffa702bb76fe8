"""The processes that train one run together: their sums, agreements and waits.

A single process is `World()`: it makes no group, sends nothing, and changes no bit. Tensors on GPUs go through NCCL,
tensors on CPUs through gloo. Agreements of the hosts always go through gloo, so that no host waits for its device. No
Python object is sent: small facts travel as JSON through the store of the rendezvous.

Letters: W processes.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist

from dnnlib.errors import UserError, first_line
from torch_utils.watchdog import Watchdog

LONG_S = 6 * 3600.0  # work of one process while the others wait: metrics, snapshots
ASKED_S = 10.0  # wait of a process that was asked to stop for rank 0 at work
POLL_S = 0.1
LEAVE_S = 30.0  # time-out of rank 0 for the others to leave
MESSAGE_BYTES = 500  # size of a message that processes exchange


class PeerLost(RuntimeError):
    """A collective that failed because another process is gone. The message has rank, operation and step."""


class World:
    """One process's view of all processes.

    Attributes:
        rank: Number of this process, from 0 to size - 1. Rank 0 leads: it alone writes and measures.
        size: Number of processes, W.
        local_rank: Number of this process on its machine.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        local_rank: int = 0,
        *,
        store: Any = None,
        control: Any = None,
        watched: bool = False,
        watchdog: Watchdog | None = None,
    ) -> None:
        """Describes the processes. `torch_utils.process_group` constructs a world with its group.

        Args:
            rank: Number of this process.
            size: Number of processes.
            local_rank: Number of this process on its machine.
            store: Store of the rendezvous; None for a single process.
            control: Process group of the hosts; None: the default group.
            watched: Whether `watch` watches a single process, too.
            watchdog: Watchdog that was started already.
        """
        self.rank, self.size, self.local_rank = rank, size, local_rank
        self._store, self._control = store, control
        self._is_watched = watched or size > 1
        self._num_keys = 0
        self._place = ''  # prefix of the keys of the current `rank0_section` in the store
        self._num_given = 0  # tasks given out so far in this section
        self._watchdog = watchdog

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and measures."""
        return self.rank == 0

    # ---- tensors: every process calls these in the same order, with the same shapes

    def all_reduce(self, x: torch.Tensor, what: str) -> None:
        """Replaces `x` (contiguous) by its sum over all processes, which is bit-identical in each.

        Args:
            x: Tensor of any shape and dtype, the same in every process.
            what: Name of the tensor, for messages.

        Raises:
            PeerLost: If another process is gone.
        """
        if self.size > 1:
            with self._collective(f'all-reduce of {what}'):
                dist.all_reduce(x)

    def gather(self, x: torch.Tensor, what: str) -> torch.Tensor:
        """Returns every process's `x` in the order of ranks, [W, *x.shape]. `what` names it in messages."""
        if self.size == 1:
            return x.unsqueeze(0)
        out = x.new_empty([self.size, *x.shape])
        with self._collective(f'all-gather of {what}'):
            dist.all_gather(list(out.unbind(0)), x.contiguous())
        return out

    # ---- agreements of the hosts

    def maximum(self, value: int, what: str) -> int:
        """Returns the largest of all processes' values."""
        if self.size == 1:
            return value
        x = torch.tensor([value])
        with self._collective(f'agreement on {what}'):
            dist.all_reduce(x, dist.ReduceOp.MAX, group=self._control)
        return int(x)

    def agree(self, verdict: int, words: str) -> tuple[int, str]:
        """Returns the most severe verdict of all processes.

        Args:
            verdict: Verdict of this process, at least 0.
            words: Its reason.

        Returns:
            The largest verdict, and the words of the first process that gave it. Words are exchanged, cut to
            MESSAGE_BYTES, only if a verdict is above 0.
        """
        largest = self.maximum(verdict, 'whether to continue')
        if largest == 0 or self.size == 1:
            return largest, words
        text = f'{self}: {words}'.encode()[:MESSAGE_BYTES]
        row = torch.zeros(1 + MESSAGE_BYTES, dtype=torch.uint8)
        row[0] = verdict
        row[1 : 1 + len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        rows = self.gather_on_host(row, 'why not')  # [W, 1 + MESSAGE_BYTES]
        first = next(row for row in rows if row[0] == largest)
        return largest, bytes(first[1:].tolist()).rstrip(b'\0').decode(errors='ignore')

    def gather_on_host(self, x: torch.Tensor, what: str) -> torch.Tensor:
        """Returns the `gather` of a tensor on the CPU, whatever the device of the run."""
        if self.size == 1:
            return x.unsqueeze(0)
        out = x.new_empty([self.size, *x.shape])
        with self._collective(f'all-gather of {what}'):
            dist.all_gather(list(out.unbind(0)), x.contiguous(), group=self._control)
        return out

    def shared(self, make: Callable[[], Any]) -> Any:
        """Returns the result of `make` on rank 0 to every process.

        Args:
            make: Function that returns a value of JSON's types; called on rank 0 only.

        Raises:
            UserError: If it fails; raised in every process except rank 0, which raises the original error.
        """
        if self.size == 1:
            return make()
        key = self._next_key('shared')
        if not self.leads:
            answer = json.loads(self._store.get(key))
            if 'error' in answer:
                raise UserError(answer['error'])
            return answer['value']
        try:
            value = make()
        except Exception as error:
            self._store.set(key, json.dumps({'error': f'rank 0: {error}'}))
            raise
        self._store.set(key, json.dumps({'value': value}))
        return value

    # ---- waiting

    @contextlib.contextmanager
    def rank0_section(
        self, what: str, asked: Callable[[], bool], serve: Callable[[dict[str, Any]], None] | None = None
    ) -> Iterator[bool]:
        """Lets rank 0 work in the body while the other processes wait when they leave it.

        Args:
            what: Name of the work, for messages.
            asked: Returns whether this process was asked to stop; rank 0 learns of it by `peer_asked`.
            serve: Computes a process's part of a task that rank 0 gives out in the meantime; None: there are no tasks.

        Yields:
            True on rank 0, False elsewhere.

        Raises:
            PeerLost: If this process was asked to stop and rank 0 does not answer.
        """
        if self.size == 1:
            with self._limit(LONG_S, what):
                yield True
            return
        self._place, self._num_given = self._next_key('rank0'), 0
        with self._limit(LONG_S, what):
            yield self.leads
            if self.leads:
                self._store.set(f'{self._place}/done', '1')
            else:
                self._follow(what, asked, serve)

    def give(self, task: dict[str, Any]) -> None:
        """Sends a task, of JSON's types, to every other process; on rank 0 inside `rank0_section`."""
        if self.size > 1:
            assert self.leads
            self._store.set(f'{self._place}/task/{self._num_given}', json.dumps(task))
            self._num_given += 1

    def peer_asked(self) -> bool:
        """Returns whether a waiting process was asked to stop; on rank 0 inside `rank0_section`."""
        return self.size > 1 and self._store.check([f'{self._place}/asked'])

    def _follow(self, what: str, asked: Callable[[], bool], serve: Callable[[dict[str, Any]], None] | None) -> None:
        """Waits for rank 0 and serves the tasks that it gives out."""
        deadline = None
        while not self._store.check([f'{self._place}/done']):
            task = f'{self._place}/task/{self._num_given}'
            if serve is not None and self._store.check([task]):
                self._num_given += 1
                serve(json.loads(self._store.get(task)))
                continue
            if deadline is None and asked():
                self._store.set(f'{self._place}/asked', '1')
                deadline = time.monotonic() + ASKED_S
            if deadline is not None and time.monotonic() > deadline:
                self._abort()
                raise PeerLost(f'{self}: asked to stop in {what}, and rank 0, which works there, does not answer')
            time.sleep(POLL_S)

    # ---- time-outs

    def watch(self, timeout_s: float) -> None:
        """Starts to watch the time: the process ends, with its stacks, after `timeout_s` seconds without progress."""
        if self._is_watched:
            if self._watchdog is None:
                self._watchdog = Watchdog(str(self), timeout_s)
            self._watchdog.limit(timeout_s, 'the start')

    def unwatch(self) -> None:
        """Stops to watch the time."""
        if self._watchdog is not None:
            self._watchdog.end()
            self._watchdog = None

    def set_stage(self, where: str) -> None:
        """Names the current position of the run for messages; this is a sign of life."""
        if self._watchdog is not None:
            self._watchdog.beat(where)

    def close(self) -> None:
        """Leaves the group. Rank 0, whose process serves the store, waits until the others no longer need it."""
        self.unwatch()
        if self.size == 1:
            return
        self._store.set(f'left/{self.rank}', '1')
        if self.leads:
            deadline = time.monotonic() + LEAVE_S
            everyone = [f'left/{rank}' for rank in range(self.size)]
            while not self._store.check(everyone) and time.monotonic() < deadline:
                time.sleep(POLL_S)
        dist.destroy_process_group()

    def __str__(self) -> str:
        return f'rank {self.rank} of {self.size}'

    def _next_key(self, kind: str) -> str:
        """Returns a new name in the store; processes ask for names in the same order."""
        self._num_keys += 1
        return f'{kind}/{self._num_keys}'

    def _abort(self) -> None:
        """Ends NCCL's collectives that are under way: this process would wait for them when it leaves."""
        if dist.is_initialized() and dist.get_backend() == 'nccl':
            group = dist.group.WORLD
            assert group is not None
            group.abort()

    @contextlib.contextmanager
    def _limit(self, timeout_s: float, what: str) -> Iterator[None]:
        if self._watchdog is None:
            yield
            return
        before = self._watchdog.limit(timeout_s, what)
        yield
        self._watchdog.limit(before, f'after {what}')

    @contextlib.contextmanager
    def _collective(self, what: str) -> Iterator[None]:
        where = '' if self._watchdog is None else f', {self._watchdog.where}'
        try:
            if self._watchdog is not None:
                self._watchdog.enter(what)
            yield
        except RuntimeError as error:
            cause = first_line(error)
            self._abort()
            raise PeerLost(f'{self}{where}: {what} failed, another process is gone or unreachable ({cause})') from error
        if self._watchdog is not None:
            self._watchdog.enter('')
