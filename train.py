"""Train an image GAN: flags to config, config to networks, networks to a run folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnnlib.errors import ConfigError, run_command

if TYPE_CHECKING:  # the real imports stand in the functions that need them: --help must answer at once
    import torch

    from dnnlib.log import Log
    from dnnlib.signals import StopSignal
    from training.config import RunConfig
    from training.dataset import DataConfig, ImageDataset
    from training.run_folder import RunFolder
    from training.state import TrainState

# Flags that set config fields. Every other field is reached by --set.
FLAGS = {
    'gamma': ('r1.gamma',),
    'kimg': ('kimg',),
    'batch': ('batch',),
    'batch_gpu': ('batch_gpu',),
    'glr': ('g_opt.lr',),
    'dlr': ('d_opt.lr',),
    'cbase': ('generator.channel_base', 'discriminator.channel_base'),
    'cmax': ('generator.channel_max', 'discriminator.channel_max'),
    'map_depth': ('generator.map_depth',),
    'mbstd_group': ('discriminator.mbstd_group',),
    'seed': ('seed',),
    'metrics': ('metrics',),
    'snap': ('snap',),
    'tick': ('tick',),
    'keep': ('keep',),
    'workers': ('workers',),
}
DATA_FLAGS = {'data': 'path', 'cond': 'cond', 'subset': 'subset', 'mirror': 'mirror', 'resolution': 'resolution'}
SET_REFUSES = {
    'cfg': '--cfg',
    'data': '--data and its neighbours',
    'precision': '--precision',
    'gpus': '--gpus',
    'seed': '--seed',
}
NAMED_FLAGS = ('gamma', 'kimg', 'batch')  # stand in the run folder's name when they are given
NO_FILE = ('noresume', 'auto', 'latest')  # values of --resume that name no file


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
# Where, what, on what
@click.option('--outdir', help='Where run folders are made.', default='runs', show_default=True, metavar='DIR')
@click.option('--cfg', help='Architecture and recipe; "list" shows them all.  [default: auto]')
@click.option('--data', help='Images: a zip or a folder.  [default: the embedded set]', metavar='PATH')
@click.option('--resume', help='Continue a run: RUN_DIR, latest, or auto. Or start from the networks of a FILE.')
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
    from dnnlib.files import exclusive
    from dnnlib.registry import load_file

    given = {name: value for name, value in options.items() if value is not None}
    for path in given['plugin']:
        load_file(path)
    if given.get('cfg') == 'list':
        return list_recipes(given)
    folder = find_run(given)
    run = continued_run(folder, given) if folder else new_run(given)
    if given['dry_run']:
        return print_plan(run, folder, given)
    folder = folder or make_folder(run, given)
    with exclusive(folder.lock):
        sys.exit(train(run, folder))


# ---- from flags to a config


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run before it has a state."""

    cfg: RunConfig
    dataset: ImageDataset
    device: torch.device
    record: dict[str, Any]  # config.json
    notes: tuple[str, ...]  # what to say once there is a log
    source: dict[str, torch.Tensor] | None = None  # tensors of another run to start from


def new_run(given: dict[str, Any]) -> Run:
    """Facts of the data, then the recipe, then what the machine can do, then flags and --set."""
    from torch_utils.devices import pick_device
    from training.build import resolve_precision
    from training.config import apply_overrides, to_record, with_precision
    from training.dataset import ImageDataset
    from training.registry import RECIPES
    from training.transfer import load_source

    device, num_gpus, changes = pick_device(given.get('device')), check_gpus(given), config_changes(given)
    dataset = ImageDataset(data_config(given), given.get('seed', 0))
    cfg = RECIPES.get(given.get('cfg', 'auto')).make(dataset.spec, num_gpus)
    cfg = replace(cfg, data=dataset.cfg)
    cfg = with_precision(cfg, resolve_precision(wanted_precision(given), device))
    settings, notes = machine_settings(device, given)
    cfg = apply_overrides(cfg, settings | changes)
    check(cfg, dataset)
    resume = given.get('resume', 'noresume')
    source = None if resume in NO_FILE else load_source(Path(resume))
    record = to_record(cfg, dataset.spec) | provenance(cfg)
    return Run(cfg=cfg, dataset=dataset, device=device, record=record, notes=notes, source=source)


def continued_run(folder: RunFolder, given: dict[str, Any]) -> Run:
    """The recorded config, with the flags that are given now on top; each change is told."""
    from dnnlib.config import flatten
    from torch_utils.devices import pick_device
    from training.config import apply_overrides, from_record, to_record, with_precision
    from training.dataset import ImageDataset

    check_gpus(given)
    old, spec = from_record(folder.record())
    check_same(old, given)
    precision = wanted_precision(given)
    cfg = old if precision in ('auto', old.precision) else with_precision(old, precision)
    cfg = apply_overrides(cfg, config_changes(given))
    dataset = ImageDataset(cfg.data, cfg.seed)
    if dataset.spec != spec:
        raise ConfigError(
            f'{cfg.data.source}: the data have changed since the run began: {spec} then, {dataset.spec} now'
        )
    check(cfg, dataset)
    before, after = flatten(old), flatten(cfg)
    notes = tuple(f'changed for this sitting: {k} {before[k]} -> {v}' for k, v in after.items() if before[k] != v)
    record = to_record(cfg, spec) | provenance(cfg)
    return Run(cfg=cfg, dataset=dataset, device=pick_device(given.get('device')), record=record, notes=notes)


def check_same(old: RunConfig, given: dict[str, Any]) -> None:
    """What a run may not change on its way: its architecture, its data, its seed."""
    began = {'cfg': old.cfg, 'seed': old.seed} | {flag: getattr(old.data, field) for flag, field in DATA_FLAGS.items()}
    for flag, before in began.items():
        now = given.get(flag, before)
        now = str(Path(now).absolute()) if flag == 'data' and now is not None else now
        if now != before:
            raise ConfigError(f'--{flag}={now}: this run began with {before} and goes on with it; drop the flag')


def check(cfg: RunConfig, dataset: ImageDataset) -> None:
    """Refuses, before a folder is made, what building or measuring would refuse later."""
    import torch

    from metrics.spec import parse_metric
    from training.build import build_networks

    for name in cfg.metrics:
        parse_metric(name)
    with torch.device('meta'):
        build_networks(cfg, dataset.spec)


def config_changes(given: dict[str, Any]) -> dict[str, Any]:
    """Config fields by path, from the flags and from --set."""
    changes = {path: given[flag] for flag, paths in FLAGS.items() if flag in given for path in paths}
    if changes.get('metrics') == 'none':
        changes['metrics'] = ''
    for item in given['sets']:
        path, equals, value = item.partition('=')
        if not equals:
            raise ConfigError(f'--set {item}: expected FIELD=VALUE, for instance --set r1.gamma=2')
        if (flag := SET_REFUSES.get(path.partition('.')[0])) is not None:
            raise ConfigError(f'--set {item}: other fields follow from this one; set it by {flag}')
        changes[path] = value
    return changes


def data_config(given: dict[str, Any]) -> DataConfig:
    """The data flags; paths are made absolute, so that a run resumes from any folder."""
    from training.dataset import DataConfig

    fields = {field: given[flag] for flag, field in DATA_FLAGS.items() if flag in given}
    if fields.get('path'):
        fields['path'] = str(Path(fields['path']).absolute())
    return DataConfig(**fields)


def wanted_precision(given: dict[str, Any]) -> str:
    """--precision, or --fp32."""
    return 'fp32' if given.get('fp32') else given.get('precision', 'auto')


def check_gpus(given: dict[str, Any]) -> int:
    """--gpus, which must be 1 in this version."""
    if given.get('gpus', 1) != 1:
        raise ConfigError(f'--gpus={given["gpus"]}: this version trains in one process; use --gpus=1')
    return 1


def machine_settings(device: torch.device, given: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fields that depend on the machine rather than on the recipe, and what to say about them."""
    import os

    from metrics.detectors import available

    fields: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    if device.type == 'cpu':
        fields = {'workers': min(3, max((os.cpu_count() or 1) - 1, 0)), 'grid_images': 256}
    if available('efflite'):
        fields['metrics'] = 'fd_efflite50k_full' if device.type == 'cuda' else 'fd_efflite2k'
    elif 'metrics' not in given:
        notes = ('no metrics: the detector is not installed; pip install ".[metrics]" brings it',)
    return fields, notes


def provenance(cfg: RunConfig) -> dict[str, Any]:
    """What else a number depends on: code, libraries, command line."""
    from dnnlib.provenance import environment
    from dnnlib.registry import source_of
    from training.registry import RECIPES

    return {'plugin': source_of(RECIPES.module_of(cfg.cfg)), **environment(('torch', 'numpy', 'pillow', 'scipy'))}


# ---- run folders


def find_run(given: dict[str, Any]) -> RunFolder | None:
    """The folder that --resume names, if it names one. 'auto' finds nothing on the first launch, and says nothing."""
    from training.run_folder import RunFolder

    resume = given.get('resume', 'noresume')
    if resume in ('auto', 'latest'):
        runs = [path.parent for path in Path(given['outdir']).glob('[0-9]*-*/config.json')]
        if resume == 'auto':
            name = run_name(new_run(given), given)
            runs = [path for path in runs if path.name.partition('-')[2] == name]
        if not runs and resume == 'latest':
            raise ConfigError(f'--resume=latest: no run in {given["outdir"]}; name another --outdir')
        return RunFolder(max(runs)) if runs else None
    return RunFolder(Path(resume)) if resume != 'noresume' and is_run_folder(resume) else None


def is_run_folder(path: str) -> bool:
    """Whether a path is a run's folder."""
    return (Path(path) / 'config.json').is_file()


def run_name(run: Run, given: dict[str, Any]) -> str:
    """What the run folder is called, after its number: data, then --cfg, then the flags that change most."""
    data = run.cfg.data
    parts = [run.dataset.name + (str(data.resolution) if data.resolution else '')]
    parts += ['cond'] * data.cond + [f'subset{data.subset}'] * (data.subset is not None) + ['mirror'] * data.mirror
    parts += [run.cfg.cfg] + [f'{flag}{given[flag]:g}' for flag in NAMED_FLAGS if flag in given]
    return '-'.join([*parts, given['desc']] if 'desc' in given else parts)


def make_folder(run: Run, given: dict[str, Any]) -> RunFolder:
    """A new run folder with its config.json."""
    from dnnlib.files import make_run_dir, write_json
    from training.run_folder import RunFolder

    folder = RunFolder(make_run_dir(Path(given['outdir']), run_name(run, given)))
    write_json(folder.path / 'config.json', run.record)
    return folder


# ---- what a call does


def list_recipes(given: dict[str, Any]) -> None:
    """--cfg=list"""
    from training import plan
    from training.dataset import read_spec

    click.echo(plan.list_recipes(read_spec(data_config(given))))


def print_plan(run: Run, folder: RunFolder | None, given: dict[str, Any]) -> None:
    """--dry-run"""
    from training.plan import describe_run

    where = folder.path if folder else Path(given['outdir']) / f'NNNNN-{run_name(run, given)}'
    click.echo(describe_run(run.cfg, run.dataset.spec, str(where)))


def train(run: Run, folder: RunFolder) -> int:
    """Trains until the end or a signal, and returns the exit code."""
    from dnnlib.log import Log
    from dnnlib.signals import StopSignal
    from torch_utils.allocator import keep_freed_memory
    from torch_utils.devices import prepare
    from training.build import build

    keep_freed_memory()
    prepare(run.device)
    with Log(folder.path / 'log.txt') as log, StopSignal() as stop:
        log.line(f'run folder {folder.path}, {run.device}, {run.cfg.precision}')
        for note in run.notes:
            log.line(note)
        state = build(run.cfg, run.dataset.spec, run.device)
        restore(state, folder, run.source, log)
        if run_loop(run, folder, state, log, stop):
            log.line(f'done: {folder.snapshot(state.nimg)}')
            return 0
        log.line(f'stopped and saved at {state.nimg / 1000:.2f} kimg; continue: python train.py --resume={folder.path}')
        return stop.exit_code


def restore(state: TrainState, folder: RunFolder, source: dict[str, torch.Tensor] | None, log: Log) -> None:
    """Takes up the newest whole state of the folder; in a new one, the networks of another run if there are any."""
    from torch_utils.checkpoint import list_states, load_state
    from training.transfer import transfer

    if list_states(folder.states):
        path = folder.newest_state(log.warn)
        state.load(*load_state(path), where=str(path))
        log.line(f'continuing from {path}')
    elif source is not None:
        transfer(state, source, log.line)
    folder.rewind(state.nimg)


def run_loop(run: Run, folder: RunFolder, state: TrainState, log: Log, stop: StopSignal) -> bool:
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
        record=run.record,
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
