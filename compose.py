"""From the flags of a command line to a run that can be trained: facts, recipe, machine, overrides, folder.

given: the options that stand on the command line, by name; what is not there takes the recipe's value.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dnnlib.config import flatten
from dnnlib.errors import ConfigError
from dnnlib.files import make_run_dir, write_json
from dnnlib.provenance import environment
from dnnlib.registry import source_of
from metrics.detectors import available
from metrics.spec import parse_metric
from torch_utils.checkpoint import Tensors
from torch_utils.devices import pick_device
from torch_utils.ops import dispatch
from training.build import build_networks, resolve_precision
from training.config import RunConfig, apply_overrides, from_record, to_record, with_precision
from training.dataset import DataConfig, ImageDataset
from training.registry import RECIPES
from training.run_folder import RunFolder
from training.transfer import load_source

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
    'on_nan': ('on_nan',),
    'bad_images': ('bad_images',),
    'guardian': ('guardian.mode',),
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


# ---- from flags to a config


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run before it has a state."""

    cfg: RunConfig
    dataset: ImageDataset
    device: torch.device
    notes: tuple[str, ...]  # what to say once there is a log
    source: Tensors | None = None  # tensors of another run to start from


def new_run(given: dict[str, Any]) -> Run:
    """Facts of the data, then the recipe, then what the machine can do, then flags and --set."""
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
    return Run(cfg=cfg, dataset=dataset, device=device, notes=notes, source=source)


def continued_run(folder: RunFolder, given: dict[str, Any]) -> Run:
    """The recorded config, with the flags that are given now on top; each change is told."""
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
    return Run(cfg=cfg, dataset=dataset, device=pick_device(given.get('device')), notes=notes)


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
    fields: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    if device.type == 'cpu':
        fields = {'workers': min(3, max((os.cpu_count() or 1) - 1, 0)), 'grid_images': 256}
    if available('efflite'):
        fields['metrics'] = 'fd_efflite50k_full' if device.type == 'cuda' else 'fd_efflite2k'
    elif 'metrics' not in given:
        notes = ('no metrics: the detector is not installed; pip install ".[metrics]" brings it',)
    return fields, notes


def record_of(run: Run) -> dict[str, Any]:
    """What config.json and every snapshot hold: config, facts, and what else a number depends on."""
    return to_record(run.cfg, run.dataset.spec) | {
        'plugin': source_of(RECIPES.module_of(run.cfg.cfg)),
        'operations': dispatch.pick('auto', torch.empty(0, device=run.device)),
        'threads': torch.get_num_threads(),
        **environment(('torch', 'numpy', 'pillow', 'scipy')),
    }


def drift(before: dict[str, Any], now: dict[str, Any]) -> tuple[str, ...]:
    """What has changed around a run since it began, so that its last bits may; a line each."""
    return tuple(
        f'{name} {before[name]} when the run began, {now[name]} now: it goes on, its last bits may differ'
        for name in ('versions', 'threads', 'operations', 'plugin')
        if name in before and before[name] != now[name]
    )


# ---- run folders


def find_run(given: dict[str, Any]) -> RunFolder | None:
    """The folder that --resume names, if it names one. 'auto' finds nothing on the first launch, and says nothing."""
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


def make_folder(run: Run, given: dict[str, Any], record: dict[str, Any]) -> RunFolder:
    """A new run folder with its config.json."""
    folder = RunFolder(make_run_dir(Path(given['outdir']), run_name(run, given)))
    write_json(folder.path / 'config.json', record)
    return folder
