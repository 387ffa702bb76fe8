"""The training loop: steps, and at the end of each tick what is due there.

A tick ends every `cfg.tick` kimg. Every `cfg.snap` ticks, and at the end, there is a snapshot: network file, sheet of
samples, training state, metrics. Training states are also saved when the last one is `save_every_s` old.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import torch

from dnnlib.errors import DataError
from dnnlib.log import Log, format_bytes, format_time
from dnnlib.signals import StopRequested
from torch_utils import checkpoint
from torch_utils.stats import Collector
from training.config import RunConfig
from training.guardian import Guardian
from training.loader import BatchStream
from training.recovery import Recovery, count_faults
from training.report import Reporter, resources, tick_record
from training.run_folder import RunFolder
from training.sheets import SampleSheet
from training.snapshot import save_snapshot
from training.state import TrainState
from training.step import TrainStep
from training.workers import WorkerDiedError


class Evaluator(Protocol):
    """Measures a generator. `train.py` wires it; the loop does not know the metrics."""

    names: tuple[str, ...]

    def __call__(self, G_ema: torch.nn.Module) -> Iterable[tuple[str, dict[str, Any]]]:
        """(name, line of metric-NAME.jsonl) for each metric; may raise StopRequested."""

    def lower_is_better(self, name: str) -> bool: ...


class Loop:
    """Runs a TrainState to its end, or until `stop` says so."""

    def __init__(
        self,
        *,
        cfg: RunConfig,
        record: dict[str, Any],
        state: TrainState,
        step: TrainStep,
        sheet: SampleSheet,
        folder: RunFolder,
        log: Log,
        evaluate: Evaluator | None,
        stop: Callable[[], bool],
        saved: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """saved: is told how many seconds each save of a state has taken."""
        self.cfg, self.record, self.state, self.step = cfg, record, state, step
        self.sheet, self.folder, self.log, self.evaluate, self.stop = sheet, folder, log, evaluate, stop
        self.saved = saved
        self.device = state.pl_mean.device
        self.reporter = Reporter(folder, log, self.device)
        self.recovery = Recovery(cfg, state, folder, log)
        last = folder.last_stats()
        self.seconds_before = last.get('Timing/total_sec', {'mean': 0.0})['mean']  # of earlier sittings
        self.save_sec = last.get('Timing/save_sec', {'mean': 0.0})['mean']  # of the last state that was saved
        self.saved(self.save_sec)
        self.began = self.saved_at = self.tick_began = time.monotonic()
        self.maintenance_sec = 0.0

    @property
    def end_nimg(self) -> int:
        """Images at which the run is complete."""
        return self.cfg.kimg * 1000

    def run(self, batches: BatchStream) -> bool:
        """Trains. Returns True when the run is complete, False when it was stopped (and saved) before."""
        state = self.state
        if state.nimg == 0:
            self._save_sheet(self.folder.path / 'fakes_init.png')
        else:
            self._measure_if_missed()
            if self._return_to_best():
                self._go_on(batches)
        self.tick_began = time.monotonic()
        try:
            self._train(batches)
        except (DataError, WorkerDiedError):
            # The batch that failed has changed nothing yet: what was learnt until it is whole.
            self._save_at_stop()
            self.log.line(f'stopped at {state.nimg / 1000:.2f} kimg: once that is mended, --resume={self.folder.path}')
            raise
        finally:
            self.reporter.close()
        return state.nimg >= self.end_nimg

    def _train(self, batches: BatchStream) -> None:
        """Steps until the end of the run or a request to stop, which is granted with a saved state."""
        state = self.state
        while state.nimg < self.end_nimg:
            self.step(*next(batches))
            self._show_progress()
            done = state.nimg >= self.end_nimg
            if done or state.step == 1 or state.nimg >= state.tick_start_nimg + self.cfg.tick * 1000:
                self._end_tick(done, batches)
            if self.stop() and state.nimg < self.end_nimg:
                return self._save_at_stop()

    def _save_at_stop(self) -> None:
        """A state within a tick, unless the tick's end would go back from it: continuing, it goes the same way."""
        if self.cfg.on_nan == 'rollback' and count_faults(self.state.stats.summary()):
            self.log.warn('not saved: something was not finite in this tick; the state from before it is the newest')
        else:
            self._save_state()

    # ---- ticks

    def _end_tick(self, done: bool, batches: BatchStream) -> None:
        began = time.monotonic()
        state = self.state
        losses = state.stats.summary()
        record = tick_record(
            nimg=state.nimg,
            tick=state.tick,
            tick_nimg=state.nimg - state.tick_start_nimg,
            tick_sec=began - self.tick_began,
            maintenance_sec=self.maintenance_sec,
            total_sec=self.seconds_before + began - self.began,
            losses=losses,
            phases=self.step.timer.read(),
            others=resources(self.device) | batches.faults() | self._counts(),
            augment=(self.step.view.p, self.step.view.at_cap),
        )
        self.reporter.tick(record, self.cfg.kimg)
        if self.recovery.after_tick(losses, self.step.view.at_cap):
            return self._go_on(batches)
        tick = state.tick
        state.tick, state.tick_start_nimg, state.stats = tick + 1, state.nimg, Collector()
        if done or tick % self.cfg.snap == 0:
            self._snapshot(first=tick == 0 and not done)
        elif began - self.saved_at >= self.cfg.save_every_s:
            self._save_state()
        if self._return_to_best():
            return self._go_on(batches)
        self.tick_began = time.monotonic()
        self.maintenance_sec = self.tick_began - began

    def _counts(self) -> dict[str, float]:
        return {'Timing/save_sec': self.save_sec, 'Health/rollbacks': self.state.retry}

    def _go_on(self, batches: BatchStream) -> None:
        """After a rollback."""
        batches.seek(self.state.data_position)
        self.tick_began, self.maintenance_sec = time.monotonic(), 0.0

    def _show_progress(self) -> None:
        state = self.state
        into = state.nimg - state.tick_start_nimg
        rate = (time.monotonic() - self.tick_began) / max(into, 1)
        eta = format_time(rate * max(self.end_nimg - state.nimg, 0))
        share = state.nimg / self.end_nimg
        filled = int(share * 24)
        self.log.bar(f'{"#" * filled:-<24s} {share:6.1%}  kimg {state.nimg / 1000:.2f}/{self.cfg.kimg}  eta {eta}')

    # ---- snapshots

    def _snapshot(self, first: bool) -> None:
        """Everything that a snapshot is. The first one, before anything has been learnt, is not measured."""
        nimg = self.state.nimg
        self.step.recalibrate()
        if not first:
            self._save_sheet(self.folder.sheet(nimg))
        self._guarded(
            lambda: save_snapshot(self.folder.snapshot(nimg), self.state.G_ema, self.state.D, self.record, nimg),
            self.folder.snapshot(nimg),
        )
        self._save_state()
        if not first:
            self._measure()

    def _save_sheet(self, path: Path) -> None:
        info = {'nimg': self.state.nimg, 'cfg': self.cfg.cfg, 'seed': self.cfg.seed}
        batch = max(self.cfg.batch_gpu, 1)
        try:
            self._guarded(lambda: self._compare(self.sheet.save_fakes(self.state.G_ema, path, batch, info)), path)
        except Exception as error:  # a picture is no reason to stop training either
            self.log.warn(f'{path}: cannot be drawn ({type(error).__name__}: {error}); training goes on')

    def _compare(self, images: torch.Tensor) -> None:
        """Lets the guardian see the sheet's images, uint8 [N, C, H, W]."""
        if self.state.guardian is not None:
            for warning in self.state.guardian.samples(images):
                self.log.warn(warning)

    def _save_state(self) -> None:
        state = self.state
        name = f'{state.nimg:09d}'
        path = self.folder.states / name

        def save() -> None:
            began = time.monotonic()
            checkpoint.save_state(self.folder.states, name, state.tensors(), state.scalars())
            self.saved_at = time.monotonic()
            self.save_sec = self.saved_at - began
            self.saved(self.save_sec)
            checkpoint.prune_states(self.folder.states, self.cfg.keep, self._best_states(), self.log.warn)

        self._guarded(save, path)

    def _guarded(self, save: Callable[[], None], path: Path) -> None:
        """Runs a save. A full disk or a lost folder is reported; what was there stays whole and training goes on."""
        try:
            save()
        except checkpoint.WriteErrors as error:
            needed = sum(t.numel() * t.element_size() for t in self.state.tensors().values())
            self.log.warn(
                f'{path}: not saved ({error}); a training state takes {format_bytes(needed)}. What was saved before is '
                f'whole; training goes on and tries again'
            )

    def _best_states(self) -> set[str]:
        """The name of the training state at the best snapshot."""
        best = self._best()
        return set() if best is None else {f'{best["nimg"]:09d}'}

    def _best(self) -> dict[str, Any] | None:
        """The line of the best snapshot by the first metric."""
        if self.evaluate is None:
            return None
        name = self.evaluate.names[0]
        return self.folder.best(name, lower_is_better=self.evaluate.lower_is_better(name))

    def _return_to_best(self) -> bool:
        """Goes back to the best state where the guardian is to do that; whether it did."""
        guardian = self.state.guardian
        if guardian is None or guardian.cfg.mode != 'rollback' or self.state.nimg >= self.end_nimg:
            return False
        if not (guardian.alike or self._has_risen(guardian)):
            return False
        return self.recovery.to_best(self._best())

    def _has_risen(self, guardian: Guardian) -> bool:
        return self.evaluate is not None and guardian.has_risen(*self._results(self.evaluate))

    def _results(self, evaluate: Evaluator) -> tuple[list[float], bool]:
        """All results of the first metric, oldest first, and whether lower is better."""
        name = evaluate.names[0]
        values = [next(iter(line['results'].values())) for line in self.folder.results(name)]
        return values, evaluate.lower_is_better(name)

    # ---- metrics

    def _measure_if_missed(self) -> None:
        """After a resume: the metrics of a snapshot that was saved but, because of a kill, not measured."""
        state = self.state
        at_tick_end = state.nimg == state.tick_start_nimg and state.tick > 1
        is_snapshot = (state.tick - 1) % self.cfg.snap == 0 or state.nimg >= self.end_nimg
        if at_tick_end and is_snapshot:
            self._measure()

    def _measure(self) -> None:
        """Metrics of G_ema now. A failure of one is reported and training goes on."""
        if self.evaluate is None or self.stop():
            return
        nimg = self.state.nimg
        if all(nimg in {line['nimg'] for line in self.folder.results(name)} for name in self.evaluate.names):
            return
        try:
            for name, line in self.evaluate(self.state.G_ema):
                snapshot = self.folder.snapshot(nimg).name
                self.reporter.metric(name, {**line, 'snapshot': snapshot, 'nimg': nimg, 'timestamp': time.time()})
            if self.state.guardian is not None:
                for warning in self.state.guardian.metric(*self._results(self.evaluate)):
                    self.log.warn(warning)
        except StopRequested:
            self.log.line('metrics interrupted; they are measured when the run continues')
        except Exception as error:  # whatever it is, it is no reason to stop training
            self.log.warn(
                f'metrics failed at {nimg / 1000:.1f} kimg: {type(error).__name__}: {error}; training goes on'
            )
