"""One thread that owns the networks, and the queue in front of it: of each tab, only the newest request waits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

NUM_PICTURES = 256
S = TypeVar('S')
T = TypeVar('T')


class SupersededError(Exception):
    """The outcome of a request that a newer one of its tab has replaced."""


class _Waiting(NamedTuple):
    key: Hashable | None
    work: Callable[[object], object]
    future: Future[object]


class Renderer(Generic[S]):
    """A worker thread with something that no other thread touches.

    Args:
        make: Makes it, in the thread.
        num_results: Number of results that are kept, those used last.

    Raises:
        Exception: Whatever `make` raises.
    """

    def __init__(self, make: Callable[[], S], *, num_results: int = NUM_PICTURES) -> None:
        self._num_results = num_results
        self._results: OrderedDict[Hashable, object] = OrderedDict()
        self._waiting: OrderedDict[Hashable, _Waiting] = OrderedDict()  # keys: tabs; the oldest request first
        self._changed = threading.Condition()
        self._closed = False
        made: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(make, made), name='renderer', daemon=True)
        self._thread.start()
        made.result()

    def submit(self, work: Callable[[S], T], *, tab: Hashable = None, key: Hashable = None) -> Future[T]:
        """Puts work into the queue.

        Args:
            work: Function of the thing that the thread owns.
            tab: Its place in the queue: it replaces what waits there, whose future raises SupersededError. None for a
                place of its own.
            key: Name of the result, under which it is kept; None for a result that is not kept.

        Returns:
            The future of the result.
        """
        future: Future[T] = Future()
        place = object() if tab is None else tab
        with self._changed:
            if key is not None and key in self._results:
                self._results.move_to_end(key)
                future.set_result(self._results[key])  # type: ignore[arg-type]  # the key names the kind of result
                return future
            replaced = self._waiting.get(place)
            # An entry that is replaced keeps its place, so that a tab that asks often does not fall behind.
            self._waiting[place] = _Waiting(key, work, future)  # type: ignore[arg-type]
            self._changed.notify()
        if replaced is not None and replaced.future.set_running_or_notify_cancel():
            replaced.future.set_exception(SupersededError())
        return future

    def drop(self, future: Future[T]) -> None:
        """Removes work whose result nobody waits for any more, unless it has begun."""
        with self._changed:
            places = [place for place, waiting in self._waiting.items() if waiting.future is future]
            for place in places:
                del self._waiting[place]

    @property
    def num_waiting(self) -> int:
        """Number of requests in the queue."""
        with self._changed:
            return len(self._waiting)

    def close(self, timeout_s: float = 10) -> bool:
        """Ends the thread after its present work, for which it waits no longer than `timeout_s`.

        Returns:
            Whether the thread has ended. Otherwise it may be inside PyTorch; the command must `skip_finalization`.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self, make: Callable[[], S], made: Future[None]) -> None:
        try:
            owned = make()
        except BaseException as error:  # raised in the thread that waits for it
            made.set_exception(error)
            return
        made.set_result(None)
        while (waiting := self._next()) is not None:
            if not waiting.future.set_running_or_notify_cancel():
                continue
            try:
                result = waiting.work(owned)
            except Exception as error:  # raised in the thread that waits for it
                waiting.future.set_exception(error)
                continue
            if waiting.key is not None:
                self._keep(waiting.key, result)
            waiting.future.set_result(result)

    def _next(self) -> _Waiting | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
            return None if self._closed else self._waiting.popitem(last=False)[1]

    def _keep(self, key: Hashable, result: object) -> None:
        with self._changed:
            self._results[key] = result
            self._results.move_to_end(key)
            while len(self._results) > self._num_results:
                self._results.popitem(last=False)
