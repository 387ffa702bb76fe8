"""A training run from its flags to its exit code: plug-ins, run folder, lock, networks, loop."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dnnlib.command import print_error
from dnnlib.errors import UserError
from dnnlib.folders import exclusive
from dnnlib.log import Log, format_time
from dnnlib.registry import load_file
from dnnlib.signals import StopRequested, StopSignal
from dnnlib.streams import drop_unwritable
from dnnlib.time_limit import EXIT_CODE, TimeLimit, parse_duration
from ganfoundry import options, processes, runs
from ganfoundry.continuation import continue_command, continued_run
from ganfoundry.loggers.logger import check_logger
from ganfoundry.loggers.processes import LogProcesses
from ganfoundry.options import TrainFlags
from ganfoundry.runs import Run
from ganfoundry.snapshot_metrics import for_training
from metrics.detectors.table import set_paths
from torch_utils.allocator import keep_freed_memory
from torch_utils.checkpoint import list_states
from torch_utils.devices import busy_cpu, prepare
from torch_utils.distributed import PeerLost, World
from torch_utils.launch import began, launch, leave
from training import plan
from training.build import build
from training.data.bad_images import BadImages
from training.data.dataset import read_spec
from training.data.loader import data_loader
from training.loop import Loop
from training.run.restore import restore
from training.run.run_folder import RunFolder
from training.run.sheets import SampleSheet, save_reals
from training.state import TrainState
from training.step import TrainStep
from training.trial import try_steps

UNSAVED = 74  # EX_IOERR of sysexits.h: exit code of a run whose last state or snapshot could not be written
REPEAT_S = 2.0  # signals within this time are one request: a batch system sends one, and the launcher passes on its own


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """A run that is ready to be trained by the processes of `world`. folder: None for a new run."""

    flags: TrainFlags
    world: World
    run: Run
    folder: RunFolder | None

    @property
    def name(self) -> str:
        """The folder name of a new run after its number."""
        return runs.run_name(self.run, self.flags)

    @property
    def num_missing(self) -> int:
        """Number of processes still to be started: all of the run's, or 0 if they are there."""
        return self.run.cfg.gpus if self.run.cfg.gpus > self.world.size else 0


def run_training(flags: TrainFlags) -> int:
    """Carries out a command line of train.py and returns its exit code."""
    load_plugins(flags)
    if flags.cfg == 'list':
        print_recipes(flags)
        return 0
    prepared = prepare_run(flags)
    if flags.dry_run:
        folder = prepared.folder
        where = folder.path if folder else Path(flags.outdir, f'NNNNN-{prepared.name}')
        if prepared.world.leads:
            print_plan(prepared.run, where, flags.verbose)
        return 0
    if prepared.num_missing:  # everything is checked: each process does the same again, and trains
        return launch(prepared.num_missing, flags.max_restarts or 0, processes.command_line())
    code = train_prepared(prepared)[1]
    drop_unwritable(sys.stdout)  # lines of the log that were lost are no failure of the run
    return code


def load_plugins(flags: TrainFlags) -> None:
    """Imports the files of --plugin and notes the files of --detector-path."""
    for path in flags.plugin:
        load_file(path)
    set_paths(flags.detector_path)


def prepare_run(flags: TrainFlags) -> PreparedRun:
    """Checks everything that can be checked before a folder is made. Raises UserError."""
    time_limit(flags.time_limit)  # refuses a malformed --for or --pause before this process waits for others
    pause_nimg = flags.pause_nimg
    world = processes.join_world(flags.device, watched=flags.timeout is not None)
    for name in flags.log if world.leads else ():
        check_logger(name, '--log')
    folder = runs.find_run(flags, world)
    run = continued_run(folder, flags, world) if folder else runs.new_run(flags)
    return PreparedRun(flags=flags, world=world, run=replace(run, pause_nimg=pause_nimg), folder=folder)


def print_recipes(flags: TrainFlags) -> None:
    """Prints the recipes that --cfg=list shows, with the size of their networks for these data."""
    print(plan.describe_recipes(read_spec(options.data_config(flags))))


def print_plan(run: Run, where: Path, verbose: bool) -> None:
    """Prints the plan of --dry-run, then the time and memory of a few steps.

    Args:
        run: The checked run.
        where: Its folder, which is not made.
        verbose: Also print every field of the config and every module.
    """
    cfg, spec = run.cfg, run.dataset.spec
    notes = [*(f'note: {note}' for note in run.notes), *(f'WARNING: {warning}' for warning in run.warnings)]
    notes += runs.describe_transfer(run)
    print(plan.describe_run(cfg, spec, str(where), notes=notes, verbose=verbose), flush=True)
    if sys.stderr.isatty():
        print('measuring a few steps ...', file=sys.stderr)
    prepare(run.device, benchmark=cfg.benchmark, allow_tf32=cfg.allow_tf32, deterministic=cfg.deterministic)
    print(plan.describe_trial(cfg, try_steps(cfg, run.dataset, run.device, plan.total_macs(cfg, spec)), run.device))
    print(f'Dry run: no run folder was made.{"" if verbose else " -n -v prints every field and module."}')


def train_prepared(prepared: PreparedRun) -> tuple[RunFolder, int]:
    """Trains in the folder of the run, or in a new one. Returns the folder and the exit code."""
    run, folder, flags, world = prepared.run, prepared.folder, prepared.flags, prepared.world
    cfg = run.cfg
    prepare(run.device, benchmark=cfg.benchmark, allow_tf32=cfg.allow_tf32, deterministic=cfg.deterministic)
    record = runs.record_of(run, world)
    warnings = run.warnings + (runs.drift(folder.record(), record) if folder else ())
    if (busy := busy_cpu(run.device)) is not None:
        warnings += ('; '.join(busy),)
    folder = folder or runs.make_folder(Path(flags.outdir), prepared.name, record, world)
    limit = time_limit(flags.time_limit) if world.leads else None  # rank 0 keeps the time, and all stop with it
    with folder.held(), exclusive(folder.lock) if world.leads else contextlib.nullcontext(True) as locked:
        if not locked:
            warnings += (f'{folder.path}: its file system has no locks; take care that one process trains there',)
        try:
            code = train_in_folder(run, folder, record, warnings, world, limit, flags.log if world.leads else ())
        except UserError as error:
            if world.size == 1:
                raise
            print_error(error)  # every process has it: a restart would not help
            code = 2
        finally:
            if world.size == 1:  # its caller may live on, without signs of life
                world.unwatch()
    world.close()
    return folder, leave(code, world.rank)


def time_limit(text: str | None) -> TimeLimit | None:
    """Returns the limit of --for, counted from the start of this process or of the launcher that started it."""
    if text is None:
        return None
    return TimeLimit(parse_duration(text, '--for'), time.time() - began())


def train_in_folder(
    run: Run,
    folder: RunFolder,
    record: dict[str, Any],
    warnings: tuple[str, ...],
    world: World,
    limit: TimeLimit | None,
    loggers: tuple[str, ...] = (),
) -> int:
    """Trains until the end, the pause, a signal or the time limit. Returns the exit code, the same in all processes.

    Args:
        run: The checked run.
        folder: Its folder, locked.
        record: Content of config.json.
        warnings: Lines that the log begins with.
        world: The processes that train.
        limit: Time limit of --for; None without one, and in all processes except rank 0.
        loggers: Loggers of --log; none in all processes except rank 0.
    """
    keep_freed_memory()
    repeat_s = REPEAT_S if world.size > 1 else 0
    with Log(folder.path / 'log.txt', rank=world.rank) as log, StopSignal(limit, repeat_s) as stop:
        several = f', {world.size} processes' if world.size > 1 else ''
        log.line(f'run folder {folder.path}, {run.device}{several}, {plan.describe_precision(run.cfg)}')
        for note in (plan.describe_data(run.cfg, run.dataset.spec), *run.notes):
            log.line(note)
        for warning in warnings if world.leads else ():
            log.warn(warning)
        with LogProcesses(loggers, folder.path, log.warn) as sending:
            code, complete = train_with_log(run, folder, record, log, stop, world)
            sending.state = 'failed' if code == UNSAVED else 'finished' if complete else 'stopped'
    return code


def train_with_log(
    run: Run, folder: RunFolder, record: dict[str, Any], log: Log, stop: StopSignal, world: World
) -> tuple[int, bool]:
    """Restores the state and trains; logs the outcome and the command that continues.

    Args:
        run: The checked run.
        folder: Its folder, locked.
        record: Content of config.json.
        log: The run's log.
        stop: Requests to stop.
        world: The processes that train.

    Returns:
        The exit code, and whether the run is complete.
    """
    state = build(run.cfg, run.dataset.spec, run.device)
    restore(state, folder, run.source, log, world)
    was_complete = state.nimg >= run.cfg.kimg * 1000 and folder.snapshot(state.nimg).exists()
    try:
        complete, missing = run_loop(run, folder, record, state, log, stop, world)
        code = world.maximum(stop.exit_code, 'the exit code')
        if world.maximum(len(missing), 'files that are missing'):
            code = UNSAVED
    except PeerLost as error:  # a launcher may end this process before it prints its traceback
        log.warn(str(error))
        raise
    if was_complete and code != UNSAVED:
        longer = continue_command(folder.path, (*run.again, f'--kimg={2 * run.cfg.kimg}'))
        log.line(f'nothing to do: the run is complete at --kimg={run.cfg.kimg}; to train longer: {longer}')
        return 0, True
    if complete and code != UNSAVED:
        log.line(f'done: {folder.snapshot(state.nimg)}')
        return 0, True
    for path in missing:
        log.line(f'Error: {path} could not be written; make room, or resume in a folder that can be written')
    saved = max((int(path.name) for path in list_states(folder.states)), default=0)
    why = f', --for={format_time(stop.limit.seconds)} is over' if stop.limit and code == EXIT_CODE else ''
    verb = 'paused' if code == 0 else 'stopped'
    log.line(f'{verb} at {state.nimg / 1000:.2f} kimg{why}; the newest state is of {saved / 1000:.2f} kimg')
    log.line(f'continue: {continue_command(folder.path, run.again)}')
    return code, complete


def run_loop(
    run: Run, folder: RunFolder, record: dict[str, Any], state: TrainState, log: Log, stop: StopSignal, world: World
) -> tuple[bool, list[Path]]:
    """Assembles the parts of the loop and runs it.

    Args:
        run: The checked run.
        folder: Its folder.
        record: Content of config.json, which snapshots hold too.
        state: The state to train, restored.
        log: The run's log.
        stop: Requests to stop.
        world: The processes that train.

    Returns:
        Whether the run is complete, and files that could not be written at its end.

    Raises:
        UserError: If code of the user ends the process.
    """

    def check() -> None:
        stop.check()
        if world.peer_asked():
            raise StopRequested

    cfg, dataset, device = run.cfg, run.dataset, run.device
    bad_images = BadImages(folder.bad_images, dataset, log.warn) if cfg.bad_images == 'skip' else None
    most_bad = 0 if bad_images is None else bad_images.max_bad
    sheet = SampleSheet(dataset, state.G.z_dim, cfg.seed, cfg.grid_images, most_bad) if world.leads else None
    if state.nimg == 0:  # an error of rank 0 ends all processes
        world.shared(lambda: save_reals(sheet, folder.path / 'reals.png', log))
    loop = Loop(
        cfg=cfg,
        record=record,
        state=state,
        step=TrainStep(cfg, state, dataset, device, world),
        sheet=sheet,
        folder=folder,
        log=log,
        evaluate=for_training(cfg, dataset, state.G_ema, log, check, world),
        stop=stop.requested,
        pause_nimg=run.pause_nimg,
        saved=lambda seconds: stop.limit.saved(seconds) if stop.limit else None,
        world=world,
    )
    with data_loader(
        dataset,
        start_nimg=state.data_position,
        batch_size=cfg.batch,
        seed=cfg.seed,
        num_workers=cfg.workers,
        rank=world.rank,
        world=world.size,
        device=device,
        bad_images=bad_images,
        warn=log.warn,
    ) as batches:
        try:
            complete = loop.run(batches)
        except SystemExit as ended:
            raise UserError(
                f'a plug-in has called sys.exit({ended.code!r}) in training, after {state.nimg / 1000:.2f} kimg; '
                f'let it raise an error instead. The states in {folder.states} are intact'
            ) from ended
    return complete, loop.saver.missing(complete=complete) if world.leads else []
