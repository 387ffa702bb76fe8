"""The training loop: steps, and at the end of each tick what is due there.

A tick ends every `cfg.tick` kimg. Every `cfg.snap` ticks, and at the end, there is a snapshot: network file, sheet of
samples, training state, metrics. Training states are also saved when the last one is `save_every_s` old.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from dnnlib.errors import DataError, UserError
from dnnlib.log import Log, format_bytes, format_time
from dnnlib.signals import StopRequested
from torch_utils import checkpoint
from torch_utils.stats import Collector
from training.config import RunConfig
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
    ) -> None:
        self.cfg, self.record, self.state, self.step = cfg, record, state, step
        self.sheet, self.folder, self.log, self.evaluate, self.stop = sheet, folder, log, evaluate, stop
        self.device = state.pl_mean.device
        self.reporter = Reporter(folder, log, self.device)
        last = folder.last_stats().get('Timing/total_sec', {'mean': 0.0})
        self.seconds_before = last['mean']  # of earlier sittings
        self.began = self.saved_at = self.tick_began = time.monotonic()
        self.maintenance_sec = 0.0

    @property
    def end_nimg(self) -> int:
        """Images at which the run is complete."""
        return self.cfg.kimg * 1000

    def run(self, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> bool:
        """Trains. Returns True when the run is complete, False when it was stopped (and saved) before."""
        state = self.state
        if state.nimg == 0:
            self._save_sheet(self.folder.path / 'fakes_init.png')
        else:
            self._measure_if_missed()
        self.tick_began = time.monotonic()
        try:
            self._train(iter(batches))
        except (DataError, WorkerDiedError):
            # The batch that failed has changed nothing yet: what was learnt until it is whole.
            self._save_state()
            self.log.line(f'saved at {state.nimg / 1000:.2f} kimg: once that is mended, --resume={self.folder.path}')
            raise
        finally:
            self.reporter.close()
        return state.nimg >= self.end_nimg

    def _train(self, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Steps until the end of the run or a request to stop, which is granted with a saved state."""
        state = self.state
        while state.nimg < self.end_nimg:
            self.step(*next(batches))
            self._show_progress()
            done = state.nimg >= self.end_nimg
            if done or state.step == 1 or state.nimg >= state.tick_start_nimg + self.cfg.tick * 1000:
                self._end_tick(done)
            if self.stop() and not done:
                return self._save_state()

    # ---- ticks

    def _end_tick(self, done: bool) -> None:
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
            memory=resources(self.device),
            augment=(self.step.view.p, self.step.view.at_cap),
        )
        self.reporter.tick(record, self.cfg.kimg)
        self._watch_health(losses)
        tick = state.tick
        state.tick, state.tick_start_nimg, state.stats = tick + 1, state.nimg, Collector()
        if done or tick % self.cfg.snap == 0:
            self._snapshot(first=tick == 0 and not done)
        elif began - self.saved_at >= self.cfg.save_every_s:
            self._save_state()
        self.tick_began = time.monotonic()
        self.maintenance_sec = self.tick_began - began

    def _watch_health(self, losses: dict[str, dict[str, float]]) -> None:
        skipped = losses['Health/skipped_steps']
        if skipped['mean'] == 1.0:
            raise UserError(
                f'training has diverged: no gradient of the last tick was finite. The states in {self.folder.states} '
                f'are from before; resume one with a smaller --glr and --dlr, a larger --gamma, or --precision=fp32'
            )
        if skipped['mean'] > 0:
            count = round(skipped['mean'] * skipped['num'])
            self.log.warn(f'{count} of {int(skipped["num"])} optimiser steps skipped: their gradients were not finite')

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
        # Whatever the error is: a picture is no reason to stop training.
        self._guarded(lambda: self.sheet.save_fakes(self.state.G_ema, path, batch, info), path, Exception)

    def _save_state(self) -> None:
        state = self.state
        name = f'{state.nimg:09d}'
        path = self.folder.states / name

        def save() -> None:
            checkpoint.save_state(self.folder.states, name, state.tensors(), state.scalars())
            self.saved_at = time.monotonic()
            checkpoint.prune_states(self.folder.states, self.cfg.keep, self._best_states(), self.log.warn)

        self._guarded(save, path)

    def _guarded(self, save: Callable[[], None], path: Path, errors: Any = checkpoint.WriteErrors) -> None:
        """Runs a save. A full disk or a lost folder is reported; what was there stays whole and training goes on."""
        try:
            save()
        except errors as error:
            needed = sum(t.numel() * t.element_size() for t in self.state.tensors().values())
            self.log.warn(
                f'{path}: not saved ({error}); a training state takes {format_bytes(needed)}, '
                f'{_free(path.parent)} free. What was saved before is whole; training goes on and tries again'
            )

    def _best_states(self) -> set[str]:
        """The name of the training state at the best snapshot by the first metric."""
        if self.evaluate is None:
            return set()
        name = self.evaluate.names[0]
        best = self.folder.best(name, lower_is_better=self.evaluate.lower_is_better(name))
        return set() if best is None else {f'{best["nimg"]:09d}'}

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
        except StopRequested:
            self.log.line('metrics interrupted; they are measured when the run continues')
        except Exception as error:  # whatever it is, it is no reason to stop training
            self.log.warn(
                f'metrics failed at {nimg / 1000:.1f} kimg: {type(error).__name__}: {error}; training goes on'
            )


def _free(folder: Path) -> str:
    """'12.3 GB is', of the disk that a folder is on."""
    try:
        return f'{format_bytes(shutil.disk_usage(folder).free)} is'
    except OSError:
        return 'an unknown amount is'
