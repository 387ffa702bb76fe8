"""The processes that train one run together: what they sum, agree on, and wait for.

One process alone is `World()`: no group is made, nothing is sent, no bit differs. Tensors on GPUs go through NCCL,
tensors on CPUs through gloo; what hosts agree on always goes through gloo, so that no host waits for its device.
No Python object is sent: small facts travel as JSON through the rendezvous' store.

Letters: W processes.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from dnnlib.errors import ConfigError, UserError
from torch_utils.watchdog import Watchdog

JOIN_S = 300.0  # to find one another: machines of a cluster start minutes apart
LONG_S = 6 * 3600.0  # what one process does while the others wait: metrics, snapshots
ASKED_S = 10.0  # that a process which was asked to stop still waits for a process at work alone
POLL_S = 0.1
MESSAGE_BYTES = 500  # bytes of a message that processes exchange


class PeerLost(RuntimeError):
    """A collective failed: another process has gone. The message has rank, operation and step."""


class World:
    """One process's view of all of them. rank: 0 ... size - 1; rank 0 leads: it alone writes and measures."""

    def __init__(
        self, rank: int = 0, size: int = 1, local_rank: int = 0, *, store: Any = None, control: Any = None
    ) -> None:
        self.rank, self.size, self.local_rank = rank, size, local_rank
        self._store, self._control = store, control
        self._num_keys = 0
        self._place = ''  # prefix of the keys of the current `rank0_section` in the store
        self._num_given = 0  # tasks given out so far in this section
        self._watchdog: Watchdog | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and measures."""
        return self.rank == 0

    # ---- tensors; every process calls these in the same order, with the same shapes

    def all_reduce(self, x: torch.Tensor, what: str) -> None:
        """Replaces `x` (contiguous) by its sum over all processes, bit for bit the same in each."""
        if self.size > 1:
            with self._collective(f'all-reduce of {what}'):
                dist.all_reduce(x)

    def gather(self, x: torch.Tensor, what: str) -> torch.Tensor:
        """Every process's `x`, in the order of ranks, [W, *x.shape]."""
        if self.size == 1:
            return x.unsqueeze(0)
        out = x.new_empty([self.size, *x.shape])
        with self._collective(f'all-gather of {what}'):
            dist.all_gather(list(out.unbind(0)), x.contiguous())
        return out

    # ---- agreements of the hosts

    def maximum(self, value: int, what: str) -> int:
        """The largest of all processes' values."""
        if self.size == 1:
            return value
        x = torch.tensor([value])
        with self._collective(f'agreement on {what}'):
            dist.all_reduce(x, dist.ReduceOp.MAX, group=self._control)
        return int(x)

    def agree(self, verdict: int, words: str) -> tuple[int, str]:
        """The largest of all processes' verdicts, 0 or more, and what the first one of those says that gave it.

        Words are exchanged, and cut to MESSAGE_BYTES bytes, only where a verdict is above 0.
        """
        largest = self.maximum(verdict, 'whether to go on')
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
        """`gather` of a tensor on the CPU, whatever the device of the run."""
        if self.size == 1:
            return x.unsqueeze(0)
        out = x.new_empty([self.size, *x.shape])
        with self._collective(f'all-gather of {what}'):
            dist.all_gather(list(out.unbind(0)), x.contiguous(), group=self._control)
        return out

    def shared(self, make: Callable[[], Any]) -> Any:
        """What `make` returns on rank 0 (of JSON's types), everywhere; its failure is a UserError everywhere."""
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
        """Yields True on rank 0, which works, and False elsewhere, where leaving waits until it has finished.

        asked: whether this process was asked to stop; rank 0 hears of it through `peer_asked`. serve: does a process's
        part of a task that rank 0 gives out in the meantime; by default there are none.
        """
        if self.size == 1:
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
        """Sends a task, of JSON's types, from rank 0 inside `rank0_section` to every other process, in this order."""
        if self.size > 1:
            assert self.leads
            self._store.set(f'{self._place}/task/{self._num_given}', json.dumps(task))
            self._num_given += 1

    def peer_asked(self) -> bool:
        """On rank 0 inside `rank0_section`: whether a waiting process was asked to stop."""
        return self.size > 1 and self._store.check([f'{self._place}/asked'])

    def _follow(self, what: str, asked: Callable[[], bool], serve: Callable[[dict[str, Any]], None] | None) -> None:
        """Waits for rank 0, and does what it gives out."""
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
                raise PeerLost(f'{self}: asked to stop in {what}, and rank 0, at work there, does not answer')
            time.sleep(POLL_S)

    # ---- time-outs

    def watch(self, timeout_s: float) -> None:
        """From here on the process ends, with its stacks, once nothing has moved for `timeout_s` seconds."""
        if self.size > 1:
            if self._watchdog is None:
                self._watchdog = Watchdog(str(self), timeout_s)
            self._watchdog.limit(timeout_s, 'the start')

    def set_stage(self, where: str) -> None:
        """Says where the run is, for the messages of what fails there. It is a sign of life."""
        if self._watchdog is not None:
            self._watchdog.beat(where)

    def close(self) -> None:
        """Leaves the group."""
        if self._watchdog is not None:
            self._watchdog.end()
        if self.size > 1:
            dist.destroy_process_group()

    def __str__(self) -> str:
        return f'rank {self.rank} of {self.size}'

    def _next_key(self, kind: str) -> str:
        """A name in the store; processes ask for them in the same order."""
        self._num_keys += 1
        return f'{kind}/{self._num_keys}'

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
            cause = str(error).strip().splitlines()[0]
            raise PeerLost(
                f'{self}{where}: {what} failed, another process has gone or cannot be reached ({cause})'
            ) from error
        if self._watchdog is not None:
            self._watchdog.enter('')


def is_launched() -> bool:
    """Whether this process is one that torchrun, or `--gpus=N`, has started."""
    return 'RANK' in os.environ and 'WORLD_SIZE' in os.environ


def launched_size() -> int:
    """How many processes torchrun, or `--gpus=N`, has started in all."""
    return int(os.environ['WORLD_SIZE'])


def join(device: torch.device) -> World:
    """The world that the launcher's environment describes; World() where there is none, or one process in it.

    Waits at most JOIN_S for the others. Every process of a machine takes the GPU of its local rank.
    """
    if not is_launched() or launched_size() == 1:
        return World()
    local_rank = int(os.environ.get('LOCAL_RANK', '0'))
    if device.type == 'cuda':
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f'--gpus: process {local_rank} of this machine has no GPU, PyTorch sees {torch.cuda.device_count()}; '
                f'start as many processes as there are GPUs'
            )
        torch.cuda.set_device(local_rank)
    store, rank, size = next(rendezvous('env://', timeout=datetime.timedelta(seconds=JOIN_S)))
    # torchrun's agent keeps its store when it starts the group again, with the addresses of those that are gone.
    attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    return connect(PrefixStore(f'attempt {attempt}', store), rank, size, local_rank, device.type)


def connect(store: Any, rank: int, size: int, local_rank: int = 0, device_type: str = 'cpu') -> World:
    """Makes the process group. The watchdog keeps the time: the group's own time-outs lie beyond it."""
    watchdog = Watchdog(f'rank {rank} of {size}', JOIN_S)
    watchdog.enter('joining the other processes')
    patience = datetime.timedelta(seconds=LONG_S + 60)
    backend = 'nccl' if device_type == 'cuda' else 'gloo'
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=patience)
    control = dist.new_group(backend='gloo', timeout=patience) if backend == 'nccl' else None
    world = World(rank, size, local_rank, store=PrefixStore('ganfoundry', store), control=control)
    world._watchdog = watchdog
    watchdog.limit(LONG_S, 'the start')
    return world
