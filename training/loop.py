"""Training loop: steps, and the work that is due at the end of each tick.

A tick ends every `cfg.tick` kimg. A snapshot (network file, sample sheet, training state, metrics) is made every
`cfg.snap` ticks and at the end of the run. A training state is also saved when the last one is `save_every_s` old.

All processes run the loop and hold the same state at every point of it. Only rank 0 writes. The other processes wait
there and compute their share of the metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import DataError, UserError
from dnnlib.log import Log, format_time
from torch_utils.distributed import World
from torch_utils.stats import Collector
from training.config import RunConfig
from training.data.loader import BatchStream
from training.data.workers import WorkerDiedError
from training.optimize.consistency import check_identical
from training.run.measuring import Evaluator, Measuring, serve_metric
from training.run.recovery import Recovery, count_faults
from training.run.report import Reporter, resources, tick_record
from training.run.run_folder import RunFolder
from training.run.saving import Saver
from training.run.sheets import SampleSheet
from training.run.snapshot import save_snapshot
from training.state import TrainState
from training.step import TrainStep

CHECK_TICKS = 4  # ticks between two comparisons of the processes' states
GO, STOP, FAILED = range(3)  # vote of a process before a step; the largest vote decides


class PeerDataError(UserError):
    """An error of another process that ends the run, raised in a process that has none itself."""


class Loop:
    """Trains until the end of the run or the pause, or until `stop` returns True in any process.

    Args:
        cfg: the run's config.
        record: the contents of config.json, for the headers of snapshots.
        state: the state to train; modified in place.
        step: the training step on `state`.
        sheet: sample sheet on rank 0, None elsewhere.
        folder: the run folder.
        log: receives the messages.
        evaluate: measures snapshots; None disables metrics.
        stop: whether a stop has been requested.
        pause_nimg: number of images at which training stops with its state saved, if the run is longer; None: never.
            Nothing else depends on it: the resumed run computes and records what the uninterrupted one does.
        saved: callback that receives the duration of every save of a state, in seconds.
        world: the processes of the run; None for one process.
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
        pause_nimg: int | None = None,
        saved: Callable[[float], None] = lambda seconds: None,
        world: World | None = None,
    ) -> None:
        self.cfg, self.record, self.state, self.step = cfg, record, state, step
        self.sheet, self.folder, self.log, self.stop = sheet, folder, log, stop
        self.pause_nimg = pause_nimg
        self.device = state.pl_mean.device
        self.world = world or World()
        self.evaluate = evaluate
        self.reporter = Reporter(folder, log, self.device) if self.world.leads else None
        self.metrics: Measuring | None = None
        if evaluate is not None and self.reporter is not None:
            self.metrics = Measuring(evaluate, state, folder, log, self.reporter, stop)
        self.recovery = Recovery(cfg, state, folder, log, self.world)
        last = folder.last_stats()
        self.seconds_before = last.get('Timing/total_sec', {'mean': 0.0})['mean']  # training time of earlier launches
        save_sec = last.get('Timing/save_sec', {'mean': 0.0})['mean']
        self.saver = Saver(state, folder, log, cfg.keep, self._best, saved, save_sec, record)
        self.began = self.tick_began = time.monotonic()
        self.maintenance_sec = 0.0

    @property
    def end_nimg(self) -> int:
        """Number of images at which the run is complete."""
        return self.cfg.kimg * 1000

    @property
    def paused(self) -> bool:
        """Whether the run has reached its pause."""
        return self.pause_nimg is not None and self.state.nimg >= self.pause_nimg

    def run(self, batches: BatchStream) -> bool:
        """Trains. Returns True when the run is complete, False when it was stopped (and saved) earlier."""
        state = self.state
        self.world.watch(self.cfg.timeout_s)
        self._check_same()
        with self.world.rank0_section('the beginning', self.stop, self._serve) as leads:
            if leads and state.nimg == 0:
                self._save_sheet(self.folder.path / 'fakes_init.png', watched=False)
            elif leads:
                self._finish_snapshot()
        if state.nimg > 0 and self.recovery.return_to_best(self.metrics):
            self._restart_tick(batches)
        self.tick_began = time.monotonic()
        try:
            self._train(batches)
        except (DataError, WorkerDiedError, PeerDataError):
            # The failed batch has not changed the state yet, so the state is intact.
            self._save_at_stop()
            lost = ', and not saved' if self.saver.missing(complete=False) else ''
            self.log.line(f'stopped at {state.nimg / 1000:.2f} kimg{lost}; when fixed: --resume={self.folder.path}')
            raise
        finally:
            if self.reporter is not None:
                self.reporter.close()
        return state.nimg >= self.end_nimg

    def _train(self, batches: BatchStream) -> None:
        """Steps until the end of the run or a request to stop, and saves the state in the latter case."""
        if self.paused:  # restored from a state of the pause, or of a later moment
            return None
        state, asked = self.state, False  # every launch takes a step, so that short ones make progress
        while state.nimg < self.end_nimg:
            batch = self._next(batches, asked)
            if batch is None:
                return self._save_at_stop()
            (img, c), *for_G = batch
            self.step(img, c, *for_G)
            self._show_progress()
            done = state.nimg >= self.end_nimg
            if done or state.step == 1 or state.nimg >= state.tick_start_nimg + self.cfg.tick * 1000:
                self._end_tick(done, batches)
            asked = self.stop() or self.paused

    def _next(self, batches: BatchStream, asked: bool) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
        """Returns the batches of the next step, or None if any process was asked to stop.

        Raises:
            PeerDataError: if another process could not load its images.
        """
        self.world.set_stage(f'step {self.state.step}')
        batch, error, verdict = None, None, STOP if asked else GO
        if verdict == GO:
            try:
                batch = [next(batches) for _ in range(self.cfg.batches_per_step)]
            except (DataError, WorkerDiedError) as caught:
                error, verdict = caught, FAILED
        agreed = self.world.maximum(verdict, 'whether to continue')
        if error is not None:
            raise error
        if agreed == FAILED:
            raise PeerDataError('another process could not load its images; see its message')
        return batch if agreed == GO else None

    def _check_same(self) -> None:
        """Compares the processes' states, except for G_ema's statistics, which every process measures itself."""
        measured = {f'G_ema.{name}' for name, _ in self.state.G_ema.named_buffers()}
        tensors = {name: value for name, value in self.state.tensors().items() if name not in measured}
        check_identical(self.world, tensors, self.state.nimg)

    def _save_at_stop(self) -> None:
        """Saves the state within a tick. No process leaves before rank 0 has saved.

        Does not save if the end of the tick would roll back from this state: the resumed run then repeats the fault
        and rolls back, as the uninterrupted run does.
        """
        rolls_back = self.cfg.on_nan == 'rollback' and count_faults(self.state.stats.summary()) > 0
        with self.world.rank0_section('saving', lambda: False) as leads:
            if leads and rolls_back:
                self.log.warn('not saved: this tick had non-finite losses or gradients; the newest state precedes it')
            elif leads:
                self._save_state()

    # ---- ticks

    def _end_tick(self, done: bool, batches: BatchStream) -> None:
        state = self.state
        losses = state.stats.summary()  # waits for the device, whose work belongs to the tick
        began = time.monotonic()
        self._report(losses, began, batches)
        if self.recovery.after_tick(losses, self.step.view.at_cap):
            return self._restart_tick(batches)
        tick = state.tick
        state.tick, state.tick_start_nimg, state.stats = tick + 1, state.nimg, Collector()
        if tick % CHECK_TICKS == 0:
            self._check_same()
        if done or tick % self.cfg.snap == 0:
            self._snapshot(first=tick == 0 and not done)
        elif began - self.saver.at >= self.cfg.save_every_s:
            self._save_state()
        if self.recovery.return_to_best(self.metrics):
            return self._restart_tick(batches)
        self.tick_began = time.monotonic()
        self.maintenance_sec = self.tick_began - began

    def _report(self, losses: dict[str, dict[str, float]], now: float, batches: BatchStream) -> None:
        """Writes the record of the tick that ends."""
        state = self.state
        faults = self._faults(batches)
        phases = self.step.timer.read()  # in every process, because it holds two events per phase until then
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
            phases=phases,
            others=resources(self.device) | faults,
            augment=(self.step.view.p, self.step.view.at_cap),
        )
        self.reporter.tick(record, self.cfg.kimg)

    def _faults(self, batches: BatchStream) -> dict[str, float]:
        """Returns counts of faults in all processes so far, and the duration of a save in seconds."""
        faults = batches.faults()
        replaced = torch.tensor([faults['Data/replaced_workers']], dtype=torch.float64)
        faults['Data/replaced_workers'] = self.world.gather_on_host(replaced, 'replaced workers').sum().item()
        return faults | {'Timing/save_sec': self.saver.seconds, 'Health/rollbacks': self.state.retry}

    def _restart_tick(self, batches: BatchStream) -> None:
        """Repositions the data stream after a rollback and restarts the tick's clock."""
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
        """Makes a snapshot on rank 0. The first one precedes training and is not measured."""
        self.step.recalibrate()
        with self.world.rank0_section('a snapshot and its metrics', self.stop, self._serve) as leads:
            if leads:
                self._write_snapshot(first)

    def _write_snapshot(self, first: bool) -> None:
        if not first:
            self._save_sheet(self.folder.sheet(self.state.nimg))
        saved = self._save_network()
        self._save_state()
        if saved and not first and self.metrics is not None:  # a result is that of a network file
            self.metrics.measure()

    def _save_network(self) -> bool:
        """Writes the network file. Returns whether that has succeeded."""
        nimg, path = self.state.nimg, self.folder.snapshot(self.state.nimg)
        return self.saver.guarded(lambda: save_snapshot(path, self.state.G_ema, self.state.D, self.record, nimg), path)

    def _save_sheet(self, path: Path, *, watched: bool = True) -> None:
        """Writes a sheet. watched: the guardian judges its images."""
        assert self.sheet is not None
        sheet = self.sheet
        nimg, batch = self.state.nimg, self.cfg.micro_size('G')
        info = {'nimg': nimg, 'cfg': self.cfg.cfg, 'seed': self.cfg.seed}

        def save() -> None:
            images = sheet.draw_fakes(self.state.G_ema, batch)  # [N, C, H, W] uint8
            if watched and self.state.guardian is not None:  # before the disk may be full: its memory is in the state
                self.recovery.judge_samples(sheet.diversity(images))
            sheet.save_fakes(images, path, info)
            if self.reporter is not None:
                self.reporter.sheet(path, nimg)

        self.saver.draw(save, path)

    def _save_state(self) -> None:
        """Saves on rank 0 without the other processes, since every step exchanges what they know separately."""
        if self.world.leads:
            self.saver.save_state()

    # ---- metrics

    def _best(self) -> dict[str, Any] | None:
        """Returns the line of the best snapshot by the first metric, or None."""
        return None if self.metrics is None else self.metrics.best()

    def _serve(self, task: dict[str, Any]) -> None:
        """Computes this process's share of a metric."""
        assert self.evaluate is not None
        serve_metric(self.evaluate, self.state.G_ema, task, self.log)

    def _finish_snapshot(self) -> None:
        """Writes and measures the newest snapshot after a resume, as far as the earlier launch could not."""
        state = self.state
        at_tick_end = state.nimg == state.tick_start_nimg and state.tick > 1
        is_snapshot = (state.tick - 1) % self.cfg.snap == 0 or state.nimg >= self.end_nimg
        if not (at_tick_end and is_snapshot):
            return
        saved = self.folder.snapshot(state.nimg).exists() or self._save_network()
        if saved and self.metrics is not None:
            self.metrics.measure()
