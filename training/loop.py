"""The training loop: steps, and at the end of each tick what is due there.

A tick ends every `cfg.tick` kimg. Every `cfg.snap` ticks, and at the end, there is a snapshot: network file, sheet of
samples, training state, metrics. Training states are also saved when the last one is `save_every_s` old.

Of several processes all run the loop, and hold the same state at every point of it. Rank 0 alone writes and measures;
the others wait for it there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from dnnlib.errors import DataError, UserError
from dnnlib.log import Log, format_bytes, format_time
from dnnlib.signals import StopRequested
from torch_utils import checkpoint
from torch_utils.distributed import World
from torch_utils.stats import Collector
from training.config import RunConfig
from training.consistency import check_same
from training.report import Reporter, resources, tick_record
from training.run_folder import RunFolder, first_result
from training.sheets import SampleSheet
from training.snapshot import save_snapshot
from training.state import TrainState
from training.step import TrainStep
from training.workers import WorkerDiedError

CHECK_TICKS = 4  # between two comparisons of what the processes hold
GO, STOP, FAILED = range(3)  # what a process says before a step; the largest holds for all


class Evaluator(Protocol):
    """Measures a generator. `train.py` wires it; the loop does not know the metrics."""

    names: tuple[str, ...]

    def __call__(
        self, G_ema: torch.nn.Module, names: Sequence[str]
    ) -> Iterable[tuple[str, dict[str, Any] | Exception]]:
        """(name, line of metric-NAME.jsonl or what it failed with) of these metrics; may raise StopRequested."""

    def lower_is_better(self, name: str) -> bool: ...


class PeerFailed(UserError):
    """This process is well; another one has an error that ends the run."""


class Loop:
    """Runs a TrainState to its end, or until `stop` says so in any process.

    sheet, evaluate: of rank 0; elsewhere None.
    """

    def __init__(
        self,
        *,
        cfg: RunConfig,
        record: dict[str, Any],
        state: TrainState,
        step: TrainStep,
        sheet: SampleSheet | None,
        folder: RunFolder,
        log: Log,
        evaluate: Evaluator | None,
        stop: Callable[[], bool],
        world: World | None = None,
    ) -> None:
        self.cfg, self.record, self.state, self.step = cfg, record, state, step
        self.sheet, self.folder, self.log, self.evaluate, self.stop = sheet, folder, log, evaluate, stop
        self.device = state.pl_mean.device
        self.world = world or World()
        self.reporter = Reporter(folder, log, self.device) if self.world.leads else None
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
        self.world.watch(self.cfg.timeout_s)
        self._check_same()
        with self.world.alone('the beginning', self.stop) as leads:
            if leads and state.nimg == 0:
                self._save_sheet(self.folder.path / 'fakes_init.png')
            elif leads:
                self._measure_if_missed()
        self.tick_began = time.monotonic()
        try:
            self._train(iter(batches))
        except (DataError, WorkerDiedError, PeerFailed):
            # The batch that failed has changed nothing yet: what was learnt until it is whole.
            self._save_for_good()
            self.log.line(f'saved at {state.nimg / 1000:.2f} kimg: once that is mended, --resume={self.folder.path}')
            raise
        finally:
            if self.reporter is not None:
                self.reporter.close()
        return state.nimg >= self.end_nimg

    def _train(self, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Steps until the end of the run or a request to stop, which is granted with a saved state."""
        state = self.state
        while state.nimg < self.end_nimg:
            batch = self._next(batches)
            if batch is None:
                return self._save_for_good()
            self.step(*batch)
            self._show_progress()
            done = state.nimg >= self.end_nimg
            if done or state.step == 1 or state.nimg >= state.tick_start_nimg + self.cfg.tick * 1000:
                self._end_tick(done)

    def _next(self, batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The next batch; None once a process was asked to stop; PeerFailed where another one has no batch."""
        self.world.at(f'step {self.state.step}')
        batch, error, verdict = None, None, STOP if self.stop() else GO
        if verdict == GO:
            try:
                batch = next(batches)
            except (DataError, WorkerDiedError) as caught:
                error, verdict = caught, FAILED
        agreed = self.world.maximum(verdict, 'whether to go on')
        if error is not None:
            raise error
        if agreed == FAILED:
            raise PeerFailed('another process could not load its images; its message stands beside this one')
        return batch if agreed == GO else None

    def _check_same(self) -> None:
        """Compares the processes' states. Left out: statistics that each measures for its own G_ema."""
        measured = {f'G_ema.{name}' for name, _ in self.state.G_ema.named_buffers()}
        tensors = {name: value for name, value in self.state.tensors().items() if name not in measured}
        check_same(self.world, tensors, self.state.nimg)

    # ---- ticks

    def _end_tick(self, done: bool) -> None:
        began = time.monotonic()
        state = self.state
        losses = state.stats.summary()
        self._report(losses, began)
        self._watch_health(losses)
        tick = state.tick
        state.tick, state.tick_start_nimg, state.stats = tick + 1, state.nimg, Collector()
        if tick % CHECK_TICKS == 0:
            self._check_same()
        if done or tick % self.cfg.snap == 0:
            self._snapshot(first=tick == 0 and not done)
        elif began - self.saved_at >= self.cfg.save_every_s:
            self._save_state()
        self.tick_began = time.monotonic()
        self.maintenance_sec = self.tick_began - began

    def _report(self, losses: dict[str, dict[str, float]], now: float) -> None:
        """The record of the tick that ends."""
        state = self.state
        if self.reporter is None:
            return
        record = tick_record(
            nimg=state.nimg,
            tick=state.tick,
            tick_nimg=state.nimg - state.tick_start_nimg,
            tick_sec=now - self.tick_began,
            maintenance_sec=self.maintenance_sec,
            total_sec=self.seconds_before + now - self.began,
            losses=losses,
            phases=self.step.timer.read(),
            memory=resources(self.device),
            augment=(self.step.view.p, self.step.view.at_cap),
        )
        self.reporter.tick(record, self.cfg.kimg)

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
        """Everything that a snapshot is, by rank 0. The first one, before anything was learnt, is not measured."""
        self.step.recalibrate()
        with self.world.alone('a snapshot and its metrics', self.stop) as leads:
            if leads:
                self._write_snapshot(first)

    def _write_snapshot(self, first: bool) -> None:
        nimg = self.state.nimg
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
        assert self.sheet is not None
        sheet = self.sheet
        info = {'nimg': self.state.nimg, 'cfg': self.cfg.cfg, 'seed': self.cfg.seed}
        batch = max(self.cfg.batch_gpu, 1)
        self._guarded(lambda: sheet.save_fakes(self.state.G_ema, path, batch, info), path)

    def _save_for_good(self) -> None:
        """Saves before all processes leave: none goes before rank 0 has saved."""
        with self.world.alone('saving', lambda: False):
            self._save_state()

    def _save_state(self) -> None:
        """Rank 0 saves, and needs nobody for it: what processes know apart is exchanged in every step."""
        if not self.world.leads:
            return
        state = self.state
        name = f'{state.nimg:09d}'
        path = self.folder.states / name

        def save() -> None:
            checkpoint.save_state(self.folder.states, name, state.tensors(), state.scalars())
            self.saved_at = time.monotonic()
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
        if self.evaluate is None or self.reporter is None or self.stop():
            return
        nimg = self.state.nimg
        names = [
            name for name in self.evaluate.names if nimg not in {line['nimg'] for line in self.folder.results(name)}
        ]
        try:
            for name, line in self.evaluate(self.state.G_ema, names) if names else ():
                if isinstance(line, Exception):
                    self.reporter.metric_failed(name, nimg, line)
                    continue
                snapshot = self.folder.snapshot(nimg).name
                place = {'snapshot': snapshot, 'snapshot_pkl': snapshot, 'nimg': nimg, 'timestamp': time.time()}
                self.reporter.metric(name, {**line, **place})
        except StopRequested:
            self.log.line('metrics interrupted; they are measured when the run continues')
        except Exception as error:  # whatever it is, it is no reason to stop training
            self.reporter.metric_failed('metrics', nimg, error)
        self._note_best(self.evaluate)

    def _note_best(self, evaluate: Evaluator) -> None:
        """Writes best.json, and says so where the snapshot is the best so far."""
        name = evaluate.names[0]
        best = self.folder.best(name, lower_is_better=evaluate.lower_is_better(name))
        if best is None:
            return
        try:
            if self.folder.record_best(best):
                self.log.line(f'best so far: {best["snapshot"]}, {name} {first_result(best):.4f}')
        except OSError as error:
            self.log.warn(f'{self.folder.best_record}: cannot be written ({error.strerror}); training goes on')
