"""Metrics of a run: measured at snapshots, recorded by rank 0, and compared to find the best snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch

from dnnlib.errors import UserError
from dnnlib.log import Log
from dnnlib.signals import StopRequested
from torch_utils.distributed import PeerLost
from training.optimize.guardian import Guardian
from training.run.lines import first_result
from training.run.report import Reporter
from training.run.run_folder import RunFolder
from training.state import TrainState


class Evaluator(Protocol):
    """Interface through which the loop measures; `ganfoundry/trainer.py` provides it.

    Attributes:
        names: names of the run's metrics.
    """

    names: tuple[str, ...]

    def __call__(
        self, G_ema: torch.nn.Module, names: Sequence[str]
    ) -> Iterable[tuple[str, dict[str, Any] | Exception]]:
        """Yields (name, line of metric-NAME.jsonl, or the exception) per metric. May raise StopRequested."""

    def serve(self, G_ema: torch.nn.Module, task: dict[str, Any]) -> None:
        """Computes the share of a process other than rank 0."""

    def lower_is_better(self, name: str) -> bool:
        """Whether a smaller value of the metric is better."""


class Measuring:
    """Measurement of G_ema on rank 0. The first metric decides which snapshot is the best.

    Args:
        evaluate: the metrics.
        state: the state whose G_ema is measured.
        folder: the run folder.
        log: receives the messages.
        reporter: writes the results.
        stop: whether a stop has been requested.
    """

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
        """Measures G_ema with the metrics that have no line for it yet. Reports failures without raising them."""
        if self._stop():
            return
        nimg, folder = self._state.nimg, self._folder
        try:
            names = [n for n in self._evaluate.names if nimg not in {line['nimg'] for line in folder.results(n)}]
            for name, line in self._evaluate(self._state.G_ema, names) if names else ():
                if isinstance(line, Exception):
                    self._reporter.metric_failed(name, nimg, line)
                    continue
                snapshot = folder.snapshot(nimg).name
                place = {'snapshot': snapshot, 'snapshot_pkl': snapshot, 'nimg': nimg, 'timestamp': time.time()}
                self._reporter.metric(name, {**line, **place})
                if name == self._first:
                    self._notify_guardian()
        except StopRequested:
            self._log.line('metrics interrupted; the run measures them when it continues')
        except Exception as error:  # no failure of a metric may stop training
            self._reporter.metric_failed('metrics', nimg, error)
        self._note_best()

    def best(self) -> dict[str, Any] | None:
        """Returns the line of the best snapshot, or None if there is none."""
        return self._folder.best(self._first, lower_is_better=self._evaluate.lower_is_better(self._first))

    def has_risen(self, guardian: Guardian) -> bool:
        """Whether the metric has become worse often enough for the guardian to roll back."""
        return guardian.has_risen(*self._values())

    def _values(self) -> tuple[list[float], bool]:
        """Returns the comparable results of the first metric, oldest first, and whether lower is better."""
        values = [first_result(line) for line in self._folder.curve(self._first)]
        return values, self._evaluate.lower_is_better(self._first)

    def _notify_guardian(self) -> None:
        if self._state.guardian is not None:
            for warning in self._state.guardian.metric(*self._values()):
                self._log.warn(warning)

    def _note_best(self) -> None:
        """Updates best.json and logs a new best snapshot."""
        try:
            best = self.best()
            if best is not None and self._folder.record_best(best):
                self._log.line(f'best so far: {best["snapshot"]}, {self._first} {first_result(best):.4f}')
        except (OSError, UserError) as error:
            reason = str(error) if isinstance(error, UserError) else error.strerror
            self._log.warn(f'{self._folder.best_record}: cannot be written ({reason}); training continues')


def serve_metric(evaluate: Evaluator, G_ema: torch.nn.Module, task: dict[str, Any], log: Log) -> None:
    """Computes the share of a process other than rank 0 in a metric.

    Rank 0 learns of a failure or a stop through the exchange itself and decides; here a failure is only logged.

    Args:
        evaluate: the metrics.
        G_ema: the generator.
        task: description of the share, from rank 0.
        log: receives the message of a failure.

    Raises:
        PeerLost: if another process is gone.
    """
    try:
        evaluate.serve(G_ema, task)
    except PeerLost:
        raise
    except StopRequested:
        pass
    except Exception as error:
        log.warn(f'metrics: {type(error).__name__}: {error}')
