"""The training loop: steps, and at the end of each tick what is due there.

A tick ends every `cfg.tick` kimg. Every `cfg.snap` ticks, and at the end, there is a snapshot: network file, sheet of
samples, training state, metrics. Training states are also saved when the last one is `save_every_s` old.

Of several processes all run the loop, and hold the same state at every point of it. Rank 0 alone writes; the others
wait for it there, and do their share of its metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import DataError, UserError
from dnnlib.log import Log, format_time
from dnnlib.signals import StopRequested
from torch_utils.distributed import PeerLost, World
from torch_utils.stats import Collector
from training.config import RunConfig
from training.data.loader import BatchStream
from training.data.workers import WorkerDiedError
from training.optimize.consistency import check_same
from training.run.measuring import Evaluator, Measuring
from training.run.recovery import Recovery, count_faults
from training.run.report import Reporter, resources, tick_record
from training.run.run_folder import RunFolder
from training.run.saving import Saver
from training.run.sheets import SampleSheet
from training.run.snapshot import save_snapshot
from training.state import TrainState
from training.step import TrainStep

CHECK_TICKS = 4  # between two comparisons of what the processes hold
GO, STOP, FAILED = range(3)  # what a process says before a step; the largest holds for all


class PeerFailed(UserError):
    """This process is well; another one has an error that ends the run."""


class Loop:
    """Runs a TrainState to its end, or until `stop` says so in any process.

    sheet: of rank 0; elsewhere None.
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
        saved: Callable[[float], None] = lambda seconds: None,
        world: World | None = None,
    ) -> None:
        """saved: is told how many seconds each save of a state has taken."""
        self.cfg, self.record, self.state, self.step = cfg, record, state, step
        self.sheet, self.folder, self.log, self.stop = sheet, folder, log, stop
        self.device = state.pl_mean.device
        self.world = world or World()
        self.evaluate = evaluate
        self.reporter = Reporter(folder, log, self.device) if self.world.leads else None
        self.metrics: Measuring | None = None
        if evaluate is not None and self.reporter is not None:
            self.metrics = Measuring(evaluate, state, folder, log, self.reporter, stop)
        self.recovery = Recovery(cfg, state, folder, log, self.world)
        last = folder.last_stats()
        self.seconds_before = last.get('Timing/total_sec', {'mean': 0.0})['mean']  # of earlier sittings
        save_sec = last.get('Timing/save_sec', {'mean': 0.0})['mean']
        self.saver = Saver(state, folder, log, cfg.keep, self._best, saved, save_sec)
        self.began = self.tick_began = time.monotonic()
        self.maintenance_sec = 0.0

    @property
    def end_nimg(self) -> int:
        """Images at which the run is complete."""
        return self.cfg.kimg * 1000

    def run(self, batches: BatchStream) -> bool:
        """Trains. Returns True when the run is complete, False when it was stopped (and saved) before."""
        state = self.state
        self.world.watch(self.cfg.timeout_s)
        self._check_same()
        with self.world.rank0_section('the beginning', self.stop, self._serve) as leads:
            if leads and state.nimg == 0:
                self._save_sheet(self.folder.path / 'fakes_init.png')
            elif leads:
                self._measure_if_missed()
        if state.nimg > 0 and self._return_to_best():
            self._go_on(batches)
        self.tick_began = time.monotonic()
        try:
            self._train(batches)
        except (DataError, WorkerDiedError, PeerFailed):
            # The batch that failed has changed nothing yet: what was learnt until it is whole.
            self._save_at_stop()
            self.log.line(f'stopped at {state.nimg / 1000:.2f} kimg: once that is mended, --resume={self.folder.path}')
            raise
        finally:
            if self.reporter is not None:
                self.reporter.close()
        return state.nimg >= self.end_nimg

    def _train(self, batches: BatchStream) -> None:
        """Steps until the end of the run or a request to stop, which is granted with a saved state."""
        state, asked = self.state, False  # every sitting takes a step: one that is always cut short gets on
        while state.nimg < self.end_nimg:
            batch = self._next(batches, asked)
            if batch is None:
                return self._save_at_stop()
            self.step(*batch)
            self._show_progress()
            done = state.nimg >= self.end_nimg
            if done or state.step == 1 or state.nimg >= state.tick_start_nimg + self.cfg.tick * 1000:
                self._end_tick(done, batches)
            asked = self.stop()

    def _next(self, batches: BatchStream, asked: bool) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The next batch; None once a process was asked to stop; PeerFailed where another one has no batch."""
        self.world.set_stage(f'step {self.state.step}')
        batch, error, verdict = None, None, STOP if asked else GO
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

    def _save_at_stop(self) -> None:
        """A state within a tick, unless the tick's end would go back from it: continuing, it goes the same way.

        No process leaves before rank 0 has saved.
        """
        goes_back = self.cfg.on_nan == 'rollback' and count_faults(self.state.stats.summary()) > 0
        with self.world.rank0_section('saving', lambda: False) as leads:
            if leads and goes_back:
                self.log.warn(
                    'not saved: something was not finite in this tick; the state from before it is the newest'
                )
            elif leads:
                self._save_state()

    # ---- ticks

    def _end_tick(self, done: bool, batches: BatchStream) -> None:
        began = time.monotonic()
        state = self.state
        losses = state.stats.summary()
        self._report(losses, began, batches)
        if self.recovery.after_tick(losses, self.step.view.at_cap):
            return self._go_on(batches)
        tick = state.tick
        state.tick, state.tick_start_nimg, state.stats = tick + 1, state.nimg, Collector()
        if tick % CHECK_TICKS == 0:
            self._check_same()
        if done or tick % self.cfg.snap == 0:
            self._snapshot(first=tick == 0 and not done)
        elif began - self.saver.at >= self.cfg.save_every_s:
            self._save_state()
        if self._return_to_best():
            return self._go_on(batches)
        self.tick_began = time.monotonic()
        self.maintenance_sec = self.tick_began - began

    def _report(self, losses: dict[str, dict[str, float]], now: float, batches: BatchStream) -> None:
        """The record of the tick that ends."""
        state = self.state
        faults = self._faults(batches)
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
            others=resources(self.device) | faults,
            augment=(self.step.view.p, self.step.view.at_cap),
        )
        self.reporter.tick(record, self.cfg.kimg)

    def _faults(self, batches: BatchStream) -> dict[str, float]:
        """What has gone wrong so far, in all processes, and how long saving takes."""
        faults = batches.faults()
        replaced = torch.tensor([faults['Data/replaced_workers']], dtype=torch.float64)
        faults['Data/replaced_workers'] = self.world.gather_on_host(replaced, 'replaced workers').sum().item()
        return faults | {'Timing/save_sec': self.saver.seconds, 'Health/rollbacks': self.state.retry}

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
        """Everything that a snapshot is, by rank 0. The first one, before anything was learnt, is not measured."""
        self.step.recalibrate()
        with self.world.rank0_section('a snapshot and its metrics', self.stop, self._serve) as leads:
            if leads:
                self._write_snapshot(first)

    def _write_snapshot(self, first: bool) -> None:
        nimg = self.state.nimg
        if not first:
            self._save_sheet(self.folder.sheet(nimg))
        self.saver.guarded(
            lambda: save_snapshot(self.folder.snapshot(nimg), self.state.G_ema, self.state.D, self.record, nimg),
            self.folder.snapshot(nimg),
        )
        self._save_state()
        if not first and self.metrics is not None:
            self.metrics.measure()

    def _save_sheet(self, path: Path) -> None:
        assert self.sheet is not None
        sheet = self.sheet
        info = {'nimg': self.state.nimg, 'cfg': self.cfg.cfg, 'seed': self.cfg.seed}
        batch = max(self.cfg.batch_gpu, 1)
        self.saver.draw(lambda: self._compare(sheet.save_fakes(self.state.G_ema, path, batch, info)), path)

    def _compare(self, images: torch.Tensor) -> None:
        """Lets the guardian see the sheet's images, uint8 [N, C, H, W]."""
        if self.state.guardian is not None:
            for warning in self.state.guardian.samples(images):
                self.log.warn(warning)

    def _save_state(self) -> None:
        """Rank 0 saves, and needs nobody for it: what processes know apart is exchanged in every step."""
        if self.world.leads:
            self.saver.save_state()

    # ---- the guardian

    def _return_to_best(self) -> bool:
        """Goes back to the best state where the guardian is to do that; whether it did. Rank 0 decides."""
        guardian = self.state.guardian
        if guardian is None or guardian.cfg.mode != 'rollback' or self.state.nimg >= self.end_nimg:
            return False
        nimg = self.world.shared(self._wanted_best)
        return nimg is not None and self.recovery.to_best(nimg)

    def _wanted_best(self) -> int | None:
        """On rank 0, which alone sees samples and metrics: images of the best state, if it is to be gone back to."""
        guardian = self.state.guardian
        if guardian is None or self.metrics is None or not (guardian.alike or self.metrics.has_risen(guardian)):
            return None
        best = self._best()
        return None if best is None else best['nimg']

    def _best(self) -> dict[str, Any] | None:
        """The line of the best snapshot by the first metric."""
        return None if self.metrics is None else self.metrics.best()

    # ---- metrics

    def _serve(self, task: dict[str, Any]) -> None:
        """The share of a process but rank 0. What fails or is stopped in it rank 0 hears of, and goes on or stops."""
        assert self.evaluate is not None
        try:
            self.evaluate.serve(self.state.G_ema, task)
        except PeerLost:
            raise
        except StopRequested:
            pass
        except Exception as error:
            self.log.warn(f'metrics: {type(error).__name__}: {error}')

    def _measure_if_missed(self) -> None:
        """After a resume: the metrics of a snapshot that was saved but, because of a kill, not measured."""
        state = self.state
        at_tick_end = state.nimg == state.tick_start_nimg and state.tick > 1
        is_snapshot = (state.tick - 1) % self.cfg.snap == 0 or state.nimg >= self.end_nimg
        if at_tick_end and is_snapshot and self.metrics is not None:
            self.metrics.measure()
