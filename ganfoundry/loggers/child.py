"""The process that `train.py --log` starts, seen from inside: the end of training, and calls that do not return.

Its stdin is a pipe on which rank 0 writes the state of a run that ends in good order. A rank 0 that was killed is
noticed by the other parent that the kernel gives this process. A thread watches both, and ends this process if a call
of the logger takes longer than `LIMIT_S`, or if `LIMIT_S` have passed since the end of training.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import sys
import threading
import time
from collections.abc import Iterator

LIMIT_S = 110.0  # longest call of a logger, and longest survival after training
SPARE_S = 10.0  # then the process ends even if the call does not let the watching thread run
POLL_S = 1.0
TRAINER = 'GANFOUNDRY_TRAINER'  # process id of rank 0
STATES = ('finished', 'stopped', 'failed')


def is_child() -> bool:
    """Returns whether a training run has started this process; it may have ended already."""
    return TRAINER in os.environ


class Child:
    """Watch of a process that `train.py --log` has started.

    Attributes:
        state: State of the run when training has ended; None while it trains.
    """

    def __init__(self, name: str) -> None:
        """Begins to watch. name: name of the logger, which messages contain."""
        self.state: str | None = None
        self._name, self._trainer = name, os.environ[TRAINER]
        self._call_began: float | None = None
        self._ended_at: float | None = None
        with contextlib.suppress(OSError):
            os.nice(10)  # training comes first
        threading.Thread(target=self._watch, name='watch', daemon=True).start()

    @contextlib.contextmanager
    def limited(self) -> Iterator[None]:
        """Encloses a call of the logger; if it does not return in time, this process ends."""
        self._call_began = time.monotonic()
        faulthandler.dump_traceback_later(LIMIT_S + SPARE_S, exit=True)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._call_began = None

    def _watch(self) -> None:
        while True:
            self._look_at_trainer()
            now = time.monotonic()
            began = self._call_began
            if began is not None and now - began > LIMIT_S:
                self._leave(f'--to={self._name}: no answer for {LIMIT_S:.0f} s')
            if self._ended_at is not None and now - self._ended_at > LIMIT_S:
                self._leave(f'--to={self._name}: not done {LIMIT_S:.0f} s after the end of training')

    def _look_at_trainer(self) -> None:
        """Waits for the end of training, `POLL_S` at most."""
        if self.state is not None:
            time.sleep(POLL_S)
            return
        ready, _, _ = select.select([0], [], [], POLL_S)
        if ready or str(os.getppid()) != self._trainer:
            word = os.read(0, 100).decode(errors='replace').strip() if ready else ''
            self._ended_at = time.monotonic()
            self.state = word if word in STATES else 'failed'

    def _leave(self, reason: str) -> None:
        """Ends this process at once, with the place of the call that does not return."""
        faulthandler.dump_traceback(all_threads=True)
        print(f'Error: {reason}', file=sys.stderr, flush=True)
        os._exit(1)
