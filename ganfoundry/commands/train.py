"""Train an image GAN: flags to config, config to networks, networks to a run folder."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnnlib.errors import run_command

if TYPE_CHECKING:  # the real imports stand in the functions that need them: --help must answer at once
    from dnnlib.log import Log
    from dnnlib.signals import StopSignal
    from dnnlib.time_limit import TimeLimit
    from ganfoundry.runs import Run
    from torch_utils.distributed import World
    from training.run.run_folder import RunFolder
    from training.state import TrainState

REPEAT_S = 2.0  # in which several processes get the same request to stop from a batch system and from their launcher


def spelled(name: str) -> str:
    """--map_depth is --map-depth."""
    return name.replace('_', '-')


@click.command(
    context_settings={
        'help_option_names': ['-h', '--help'],
        'max_content_width': 110,
        'token_normalize_func': spelled,
    }
)
# Where, what, on what
@click.option('--outdir', help='Where run folders are made.', default='runs', show_default=True, metavar='DIR')
@click.option('--cfg', help='Architecture and recipe; "list" shows them all.  [default: auto]')
@click.option('--data', help='Images: a zip or a folder.  [default: the embedded set]', metavar='PATH')
@click.option(
    '--resume',
    help='Continue a run: RUN_DIR, latest, or auto. Or start from the networks of another: a snapshot, an official '
    '.pkl, an http(s) address of one, or ffhq256, ffhq512, ffhq1024, celebahq256, lsundog256.',
    metavar='FROM',
)
@click.option('--freezed', help="Freeze D's first layers (Freeze-D).", type=int, metavar='INT')
@click.option('-n', '--dry-run', help='Print the plan and stop.', is_flag=True)
@click.option('--plugin', help='Python file that registers more --cfg names.', multiple=True, metavar='FILE')
@click.option('--set', 'sets', help='Set any config field, e.g. --set r1.interval=8.', multiple=True, metavar='A.B=C')
# Data
@click.option('--cond', help='Train on the labels of dataset.json.', type=bool, metavar='BOOL')
@click.option('--subset', help='Train on that many images, drawn at random.', type=int, metavar='INT')
@click.option('--mirror', help='Add x-flipped images.', type=bool, metavar='BOOL')
@click.option('--resolution', help='Train at a lower resolution: images are averaged down.', type=int, metavar='INT')
# Training
@click.option('--gamma', help='R1 weight.', type=float)
@click.option('--kimg', help='Length, in thousands of images shown.', type=int)
@click.option('--batch', help='Images in a step.', type=int)
@click.option('--batch-gpu', help='Images in a micro-batch; gradients are averaged over the rounds.', type=int)
@click.option('--glr', help="G's learning rate.", type=float)
@click.option('--dlr', help="D's learning rate.", type=float)
@click.option('--cbase', help='Width of both networks: channels at resolution R are cbase / R.', type=int)
@click.option('--cmax', help='Most channels of a layer.', type=int)
@click.option('--map-depth', help='Layers of the mapping network.', type=int)
@click.option('--mbstd-group', help='Group of the minibatch standard deviation.', type=int)
@click.option('--seed', help='Seed of every random draw.', type=int)
# Limited data
@click.option(
    '--aug',
    help='Augmentation of what D sees; its strength adapts (ada, apa), is --p (fixed), or full (diffaug).',
    type=click.Choice(['noaug', 'ada', 'fixed', 'diffaug', 'apa']),
)
@click.option('--p', help='Strength of --aug=fixed, 0 to 1.', type=float)
@click.option('--target', help='Mean sign of D on real images that --aug=ada and apa hold.  [default: 0.6]', type=float)
@click.option(
    '--augpipe',
    help='Transforms of --aug=ada and fixed.  [default: bgc]',
    type=click.Choice(['blit', 'geom', 'color', 'filter', 'noise', 'cutout', 'bg', 'bgc', 'bgcf', 'bgcfn', 'bgcfnc']),
)
@click.option('--lecam', help='Weight of LeCam regularisation, e.g. 0.01.', type=float, metavar='WEIGHT')
# Records
@click.option('--metrics', help='Comma list, or none.  [default: what this machine can do]')
@click.option(
    '--metric-data', help='Real images that metrics compare with.  [default: those of --data]', metavar='PATH'
)
@click.option('--metrics-images', help='Most images that a metric generates.', type=int, metavar='INT')
@click.option(
    '--detector-path', help="A detector's file; docs/detectors.md lists them.", multiple=True, metavar='NAME=FILE'
)
@click.option('--snap', help='Ticks between snapshots.', type=int)
@click.option('--tick', help='kimg between status lines.', type=float)
@click.option('--keep', help='Training states kept besides the best.', type=int)
@click.option('--desc', help="Ends the run folder's name.", metavar='STR')
# Machine
@click.option('--gpus', help='Processes on this machine. Several machines: torchrun, see docs/cluster.md.', type=int)
@click.option('--deterministic', help='The same bits for 1, 2 and 4 processes.', type=bool, metavar='BOOL')
@click.option('--max-restarts', help='Times to go on after a lost process.', type=click.IntRange(0), metavar='INT')
@click.option('--timeout', help='Seconds after which hung processes end.  [default: 600]', type=float, metavar='S')
@click.option('--precision', type=click.Choice(['auto', 'fp32', 'bf16', 'fp16']), help='[default: auto]')
@click.option('--fp32', help='The same as --precision=fp32.', type=bool, metavar='BOOL')
@click.option('--nhwc', help='Accepted, and changes nothing.', type=bool, metavar='BOOL')
@click.option('--nobench', help='Keep cuDNN from trying its algorithms out.', type=bool, metavar='BOOL')
@click.option('--allow-tf32', help='Let matrix products and convolutions use TF32.', type=bool, metavar='BOOL')
@click.option('--workers', help='Processes that decode images.', type=int)
@click.option('--device', help='cpu or cuda.  [default: what is there]')
# What goes wrong
@click.option('--for', 'time_limit', help='Save and stop in time, e.g. 2h, 90m, 1d (exit code 75).', metavar='TIME')
@click.option('--on-nan', type=click.Choice(['skip', 'rollback', 'abort', 'mask']), help='[default: skip]')
@click.option('--bad-images', type=click.Choice(['error', 'skip']), help='[default: error]')
@click.option('--guardian', type=click.Choice(['off', 'warn', 'rollback']), help='[default: warn]')
def main(**options: Any) -> None:
    """Train an image GAN on a folder or a zip of images.

    \b
    python train.py                                  StyleGAN2 on the embedded set
    python train.py --cfg=squeeze --data=ffhq.zip    image squeeze connections on your images
    python train.py --cfg=list --data=ffhq.zip       what there is, and how large it is for these images
    python train.py --resume=latest                  continue the newest run, bit for bit
    python train.py --gpus=8 --data=ffhq.zip         on eight GPUs of this machine
    """
    from dnnlib.registry import load_file
    from ganfoundry import processes, runs
    from metrics.detectors.table import set_path
    from torch_utils.launch import launch

    given = {name: value for name, value in options.items() if value is not None}
    time_limit(given)  # refuses at once what is no duration
    for path in given['plugin']:
        load_file(path)
    for option in given['detector_path']:
        set_path(option)
    if given.get('cfg') == 'list':
        return list_recipes(given)
    world = processes.join_world(given)
    folder = runs.find_run(given, world)
    run = runs.continued_run(folder, given) if folder else runs.new_run(given)
    if given['dry_run']:
        name = f'NNNNN-{runs.run_name(run, given)}'
        return print_plan(run, folder.path if folder else Path(given['outdir'], name))
    if run.cfg.gpus > world.size:  # everything is checked: let each process do the same again, and train
        sys.exit(launch(run.cfg.gpus, given.get('max_restarts', 0), sys.argv))
    sys.exit(train_in_folder(run, folder, given, world))


def train_in_folder(run: Run, folder: RunFolder | None, given: dict[str, Any], world: World) -> int:
    """Trains in the folder of a run that goes on, or in a new one, and returns the exit code."""
    from dnnlib.errors import UserError, print_error
    from dnnlib.files import exclusive
    from ganfoundry import runs
    from torch_utils.devices import prepare
    from torch_utils.launch import leave

    cfg = run.cfg
    prepare(run.device, benchmark=cfg.benchmark, allow_tf32=cfg.allow_tf32, deterministic=cfg.deterministic)
    record = runs.record_of(run)
    warnings = runs.drift(folder.record(), record) if folder else ()
    folder = folder or runs.make_folder(run, given, record, world)
    with exclusive(folder.lock) if world.leads else contextlib.nullcontext():
        try:
            # Of several processes rank 0 keeps the time, and all stop with it.
            code = train(run, folder, record, warnings, world, time_limit(given) if world.leads else None)
        except UserError as error:
            if world.size == 1:
                raise
            print_error(error)  # all processes have it: to start them again would not help
            code = 2
    world.close()
    return leave(code, world.rank)


def time_limit(given: dict[str, Any]) -> TimeLimit | None:
    """--for, counted from the launch of this process, or of the one that has started it and others."""
    import time

    from dnnlib.time_limit import TimeLimit, parse_duration
    from torch_utils.launch import began

    if 'time_limit' not in given:
        return None
    return TimeLimit(parse_duration(given['time_limit'], '--for'), time.time() - began())


def list_recipes(given: dict[str, Any]) -> None:
    """--cfg=list"""
    from ganfoundry.options import data_config
    from training import plan
    from training.data.dataset import read_spec

    click.echo(plan.list_recipes(read_spec(data_config(given))))


def print_plan(run: Run, where: Path) -> None:
    """--dry-run"""
    from training.plan import describe_run

    for note in run.notes:
        click.echo(f'note: {note}')
    click.echo(describe_run(run.cfg, run.dataset.spec, str(where)))


def train(
    run: Run,
    folder: RunFolder,
    record: dict[str, Any],
    warnings: tuple[str, ...],
    world: World,
    limit: TimeLimit | None,
) -> int:
    """Trains until the end, a signal or the time limit, and returns the exit code, which is that of all processes."""
    from dnnlib.log import Log, format_time
    from dnnlib.signals import StopSignal
    from dnnlib.time_limit import EXIT_CODE
    from torch_utils.allocator import keep_freed_memory
    from torch_utils.checkpoint import list_states
    from training.build import build
    from training.run.restore import restore

    keep_freed_memory()
    repeat_s = REPEAT_S if world.size > 1 else 0
    with Log(folder.path / 'log.txt', rank=world.rank) as log, StopSignal(limit, repeat_s) as stop:
        several = f', {world.size} processes' if world.size > 1 else ''
        log.line(f'run folder {folder.path}, {run.device}{several}, {run.cfg.precision}')
        for note in run.notes:
            log.line(note)
        for warning in warnings if world.leads else ():
            log.warn(warning)
        state = build(run.cfg, run.dataset.spec, run.device)
        restore(state, folder, run.source, log, world)
        complete = run_loop(run, folder, record, state, log, stop, world)
        code = world.maximum(stop.exit_code, 'the exit code')
        if complete:
            log.line(f'done: {folder.snapshot(state.nimg)}')
            return 0
        saved = max((int(path.name) for path in list_states(folder.states)), default=0)
        why = f', --for={format_time(limit.seconds)} is over' if limit and code == EXIT_CODE else ''
        log.line(f'stopped at {state.nimg / 1000:.2f} kimg{why}; the newest state is of {saved / 1000:.2f} kimg')
        log.line(f'continue: python train.py --resume={folder.path}')
        return code


def run_loop(
    run: Run, folder: RunFolder, record: dict[str, Any], state: TrainState, log: Log, stop: StopSignal, world: World
) -> bool:
    """Puts the parts of the loop together and runs it. Returns whether the run is complete."""
    from dnnlib.signals import StopRequested
    from ganfoundry.snapshot_metrics import for_training
    from training.data.bad_images import BadImages
    from training.data.loader import data_loader
    from training.loop import Loop
    from training.run.sheets import SampleSheet
    from training.step import TrainStep

    def check() -> None:
        stop.check()
        if world.peer_asked():
            raise StopRequested

    cfg, dataset, device = run.cfg, run.dataset, run.device
    sheet = SampleSheet(dataset, state.G.z_dim, cfg.seed, cfg.grid_images) if world.leads else None
    bad_images = BadImages(folder.bad_images, dataset, log.warn) if cfg.bad_images == 'skip' else None
    most_bad = 0 if bad_images is None else bad_images.max_bad
    if state.nimg == 0:  # a fault that rank 0 finds ends all
        world.shared(lambda: sheet and sheet.save_reals(folder.path / 'reals.png', most_bad))
    loop = Loop(
        cfg=cfg,
        record=record,
        state=state,
        step=TrainStep(cfg, state, dataset, device, world),
        sheet=sheet,
        folder=folder,
        log=log,
        evaluate=for_training(cfg, dataset, state.G_ema, log.warn, check, world),
        stop=stop.requested,
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
        return loop.run(batches)


if __name__ == '__main__':
    run_command(main)
