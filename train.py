"""Train an image GAN: flags to config, config to networks, networks to a run folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnnlib.errors import run_command

if TYPE_CHECKING:  # the real imports stand in the functions that need them: --help must answer at once
    from compose import Run
    from dnnlib.log import Log
    from dnnlib.signals import StopSignal
    from training.run_folder import RunFolder
    from training.state import TrainState
    from training.transfer import Source


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
@click.option('--snap', help='Ticks between snapshots.', type=int)
@click.option('--tick', help='kimg between status lines.', type=float)
@click.option('--keep', help='Training states kept besides the best.', type=int)
@click.option('--desc', help="Ends the run folder's name.", metavar='STR')
# Machine
@click.option('--gpus', help='Number of processes.', type=int)
@click.option('--precision', type=click.Choice(['auto', 'fp32', 'bf16', 'fp16']), help='[default: auto]')
@click.option('--fp32', help='The same as --precision=fp32.', type=bool, metavar='BOOL')
@click.option('--nhwc', help='Accepted, and changes nothing.', type=bool, metavar='BOOL')
@click.option('--nobench', help='Keep cuDNN from trying its algorithms out.', type=bool, metavar='BOOL')
@click.option('--allow-tf32', help='Let matrix products and convolutions use TF32.', type=bool, metavar='BOOL')
@click.option('--workers', help='Processes that decode images.', type=int)
@click.option('--device', help='cpu or cuda.  [default: what is there]')
def main(**options: Any) -> None:
    """Train an image GAN on a folder or a zip of images.

    \b
    python train.py                                  StyleGAN2 on the embedded set
    python train.py --cfg=squeeze --data=ffhq.zip    image squeeze connections on your images
    python train.py --cfg=list --data=ffhq.zip       what there is, and how large it is for these images
    python train.py --resume=latest                  continue the newest run, bit for bit
    """
    import compose
    from dnnlib.files import exclusive
    from dnnlib.registry import load_file

    given = {name: value for name, value in options.items() if value is not None}
    for path in given['plugin']:
        load_file(path)
    if given.get('cfg') == 'list':
        return list_recipes(given)
    folder = compose.find_run(given)
    run = compose.continued_run(folder, given) if folder else compose.new_run(given)
    if given['dry_run']:
        name = f'NNNNN-{compose.run_name(run, given)}'
        return print_plan(run, folder.path if folder else Path(given['outdir'], name))
    record = compose.record_of(run)
    warnings = compose.drift(folder.record(), record) if folder else ()
    folder = folder or compose.make_folder(run, given, record)
    with exclusive(folder.lock):
        sys.exit(train(run, folder, record, warnings))


def list_recipes(given: dict[str, Any]) -> None:
    """--cfg=list"""
    from flags import data_config
    from training import plan
    from training.dataset import read_spec

    click.echo(plan.list_recipes(read_spec(data_config(given))))


def print_plan(run: Run, where: Path) -> None:
    """--dry-run"""
    from training.plan import describe_run

    for note in run.notes:
        click.echo(f'note: {note}')
    click.echo(describe_run(run.cfg, run.dataset.spec, str(where)))


def train(run: Run, folder: RunFolder, record: dict[str, Any], warnings: tuple[str, ...]) -> int:
    """Trains until the end or a signal, and returns the exit code."""
    from dnnlib.log import Log
    from dnnlib.signals import StopSignal
    from torch_utils.allocator import keep_freed_memory
    from torch_utils.devices import prepare
    from training.build import build

    keep_freed_memory()
    prepare(run.device, benchmark=run.cfg.benchmark, allow_tf32=run.cfg.allow_tf32)
    with Log(folder.path / 'log.txt') as log, StopSignal() as stop:
        log.line(f'run folder {folder.path}, {run.device}, {run.cfg.precision}')
        for note in run.notes:
            log.line(note)
        for warning in warnings:
            log.warn(warning)
        state = build(run.cfg, run.dataset.spec, run.device)
        restore(state, folder, run.source, log)
        if run_loop(run, folder, record, state, log, stop):
            log.line(f'done: {folder.snapshot(state.nimg)}')
            return 0
        log.line(f'stopped and saved at {state.nimg / 1000:.2f} kimg; continue: python train.py --resume={folder.path}')
        return stop.exit_code


def restore(state: TrainState, folder: RunFolder, source: Source | None, log: Log) -> None:
    """Takes up the newest whole state of the folder; in a new one, the networks of another run if there are any."""
    from dnnlib.files import write_json
    from torch_utils.checkpoint import list_states, load_state
    from training.state import NETWORKS
    from training.transfer import transfer

    if list_states(folder.states):
        path = folder.newest_state(log.warn)
        state.load(*load_state(path), where=str(path))
        log.line(f'continuing from {path}')
    elif source is not None:
        networks = {name: getattr(state, name) for name in NETWORKS}
        write_json(folder.path / 'transfer.json', transfer(networks, source, log.line, log.detail))
        log.line('transfer: every tensor is listed in log.txt and transfer.json')
    folder.rewind(state.nimg)


def run_loop(
    run: Run, folder: RunFolder, record: dict[str, Any], state: TrainState, log: Log, stop: StopSignal
) -> bool:
    """Puts the parts of the loop together and runs it. Returns whether the run is complete."""
    from calc_metrics import SnapshotEvaluator
    from training.loader import data_loader
    from training.loop import Loop
    from training.sheets import SampleSheet
    from training.step import TrainStep

    cfg, dataset, device = run.cfg, run.dataset, run.device
    sheet = SampleSheet(dataset, state.G.z_dim, cfg.seed, cfg.grid_images)
    if state.nimg == 0:
        sheet.save_reals(folder.path / 'reals.png')
    loop = Loop(
        cfg=cfg,
        record=record,
        state=state,
        step=TrainStep(cfg, state, dataset, device),
        sheet=sheet,
        folder=folder,
        log=log,
        evaluate=SnapshotEvaluator(cfg.metrics, dataset, device, cfg.seed, check=stop.check) if cfg.metrics else None,
        stop=stop.requested,
    )
    with data_loader(
        dataset,
        start_nimg=state.nimg,
        batch_size=cfg.batch,
        seed=cfg.seed,
        num_workers=cfg.workers,
        device=device,
    ) as batches:
        return loop.run(batches)


if __name__ == '__main__':
    run_command(main)
