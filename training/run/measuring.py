"""The metrics of a run: measured at its snapshots, recorded by rank 0, and read again for what follows from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch

from dnnlib.log import Log
from dnnlib.signals import StopRequested
from training.optimize.guardian import Guardian
from training.run.report import Reporter
from training.run.run_folder import RunFolder, first_result
from training.state import TrainState


class Evaluator(Protocol):
    """Measures a generator. `train.py` wires it; the loop does not know the metrics."""

    names: tuple[str, ...]

    def __call__(
        self, G_ema: torch.nn.Module, names: Sequence[str]
    ) -> Iterable[tuple[str, dict[str, Any] | Exception]]:
        """(name, line of metric-NAME.jsonl or what it failed with) of these metrics; may raise StopRequested."""

    def serve(self, G_ema: torch.nn.Module, task: dict[str, Any]) -> None: ...  # the share of a process but rank 0

    def lower_is_better(self, name: str) -> bool: ...


class Measuring:
    """Measures the G_ema of a state. The first metric is the one by which snapshots are better or worse."""

    def __init__(
        self,
        evaluate: Evaluator,
        state: TrainState,
        folder: RunFolder,
        log: Log,
        reporter: Reporter,
        stop: Callable[[], bool],
    ) -> None:
        self._evaluate, self._state, self._folder = evaluate, state, folder
        self._log, self._reporter, self._stop = log, reporter, stop
        self._first = evaluate.names[0]

    def measure(self) -> None:
        """Metrics of G_ema now, those that are not there yet. A failure of one is reported and training goes on."""
        if self._stop():
            return
        nimg, folder = self._state.nimg, self._folder
        names = [n for n in self._evaluate.names if nimg not in {line['nimg'] for line in folder.results(n)}]
        try:
            for name, line in self._evaluate(self._state.G_ema, names) if names else ():
                if isinstance(line, Exception):
                    self._reporter.metric_failed(name, nimg, line)
                    continue
                snapshot = folder.snapshot(nimg).name
                place = {'snapshot': snapshot, 'snapshot_pkl': snapshot, 'nimg': nimg, 'timestamp': time.time()}
                self._reporter.metric(name, {**line, **place})
                if name == self._first:
                    self._tell_guardian()
        except StopRequested:
            self._log.line('metrics interrupted; they are measured when the run continues')
        except Exception as error:  # whatever it is, it is no reason to stop training
            self._reporter.metric_failed('metrics', nimg, error)
        self._note_best()

    def best(self) -> dict[str, Any] | None:
        """The line of the best snapshot; None before there is one."""
        return self._folder.best(self._first, lower_is_better=self._evaluate.lower_is_better(self._first))

    def has_risen(self, guardian: Guardian) -> bool:
        """Whether the metric has become worse so often in a row that the guardian goes back."""
        return guardian.has_risen(*self._values())

    def _values(self) -> tuple[list[float], bool]:
        """The results of the first metric that compare, oldest first, and whether lower is better."""
        values = [first_result(line) for line in self._folder.curve(self._first)]
        return values, self._evaluate.lower_is_better(self._first)

    def _tell_guardian(self) -> None:
        if self._state.guardian is not None:
            for warning in self._state.guardian.metric(*self._values()):
                self._log.warn(warning)

    def _note_best(self) -> None:
        """Writes best.json, and says so where the snapshot is the best so far."""
        best = self.best()
        if best is None:
            return
        try:
            if self._folder.record_best(best):
                self._log.line(f'best so far: {best["snapshot"]}, {self._first} {first_result(best):.4f}')
        except OSError as error:
            self._log.warn(f'{self._folder.best_record}: cannot be written ({error.strerror}); training goes on')
