"""From the flags of a command line to a run that can be trained: facts, recipe, machine, overrides, folder.

given: the options that stand on the command line, by name; what is not there takes the recipe's value.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import ConfigError
from dnnlib.files import make_run_dir, write_json
from dnnlib.http_file import is_url, public_url
from dnnlib.provenance import environment
from dnnlib.registry import source_of
from ganfoundry import options, processes
from ganfoundry.meter import reference_data
from metrics.detectors.table import available
from metrics.spec import parse_metric
from torch_utils import distributed
from torch_utils.checkpoint import list_states
from torch_utils.devices import pick_device
from torch_utils.distributed import World
from torch_utils.ops import dispatch
from training.build import build_networks, resolve_precision
from training.config import RunConfig, apply_overrides, differences, with_precision
from training.data.dataset import ImageDataset
from training.record import from_record, plugin_modules, to_record
from training.registry import RECIPES
from training.run.run_folder import RunFolder
from training.run.transfer import Source, address_of, load_source, transfer

# ---- from flags to a config


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run before it has a state."""

    cfg: RunConfig
    dataset: ImageDataset
    device: torch.device
    notes: tuple[str, ...]  # what to say once there is a log
    source: Source | None = None  # networks of another run to start from
    origin: dict[str, str] | None = None  # where the run's first networks were from, for its record


def new_run(given: dict[str, Any]) -> Run:
    """Facts of the data, then the recipe, then what the machine can do, then flags and --set."""
    device = pick_device(given.get('device'))
    num_gpus = processes.num_processes(given, device)
    dataset = ImageDataset(options.data_config(given), given.get('seed', 0))
    cfg = processes.recipe(given, dataset.spec, num_gpus)
    cfg = replace(cfg, data=dataset.cfg)
    cfg = with_precision(cfg, resolve_precision(options.wanted_precision(given), device))
    settings, notes = machine_settings(device, given)
    resume = given.get('resume', 'noresume')
    transferred = resume not in options.NO_FILE
    settings |= options.TRANSFER if transferred else {}
    asked = apply_overrides(cfg, settings | options.config_changes(given, cfg) | processes.shares(cfg, given, num_gpus))
    cfg = options.with_fewer_images(given, asked)
    check(cfg, dataset)
    notes = options.notes_on(given) + notes + renamed(asked, cfg)
    if transferred:
        notes += ('transfer: aug.kimg=100 and ema.rampup=none as in StyleGAN2-ADA, unless --set says otherwise',)
    source = None
    if transferred and given['dry_run'] and is_url(address_of(resume)):
        notes += (f'--resume={public_url(resume)}: is fetched when training begins',)
    elif transferred:
        source = load_source(resume)
        check_source(source, cfg, dataset)
    return Run(cfg=cfg, dataset=dataset, device=device, notes=notes, source=source, origin=source and source.origin)


def continued_run(folder: RunFolder, given: dict[str, Any]) -> Run:
    """The recorded config, with the flags that are given now on top; each change is told."""
    device = pick_device(given.get('device'))
    record = folder.record()
    old, spec = from_record(record)
    check_same(old, given)
    precision = options.wanted_precision(given)
    cfg = old if precision in ('auto', old.precision) else with_precision(old, precision)
    num_gpus = processes.num_processes(given, device, recorded=old.gpus)
    changes = options.config_changes(given, cfg) | processes.shares(cfg, given, num_gpus)
    cfg = options.with_fewer_images(given, apply_overrides(cfg, changes))
    check_frozen(old, cfg)
    dataset = ImageDataset(cfg.data, cfg.seed)
    if dataset.spec != spec:
        raise ConfigError(
            f'{cfg.data.source}: the data have changed since the run began: {spec} then, {dataset.spec} now'
        )
    check(cfg, dataset)
    notes = options.notes_on(given)
    notes += tuple(f'changed for this sitting: {path} {was} -> {now}' for path, was, now in differences(old, cfg))
    # A run that was killed before its first state begins again, from the same networks.
    origin = record.get('source')
    source = load_source(origin['file'], origin['sha256']) if origin and not list_states(folder.states) else None
    return Run(cfg=cfg, dataset=dataset, device=device, notes=notes, source=source, origin=origin)


def check_frozen(old: RunConfig, cfg: RunConfig) -> None:
    """A layer frozen on the way would leave its optimiser's state behind, one thawed would have none."""
    before, now = (getattr(c.discriminator, 'freezed', 0) for c in (old, cfg))
    if before != now:
        raise ConfigError(f'--freezed={now}: this run began with {before} and goes on with it; drop the flag')


def check_same(old: RunConfig, given: dict[str, Any]) -> None:
    """What a run may not change on its way: its architecture, its data, its seed."""
    began = {'cfg': old.cfg, 'seed': old.seed}
    began |= {flag: getattr(old.data, field) for flag, field in options.DATA_FLAGS.items()}
    for flag, before in began.items():
        now = given.get(flag, before)
        now = str(Path(now).absolute()) if flag == 'data' and now is not None else now
        if now != before:
            raise ConfigError(f'--{flag}={now}: this run began with {before} and goes on with it; drop the flag')


def check(cfg: RunConfig, dataset: ImageDataset) -> None:
    """Refuses, before a folder is made, what building or measuring would refuse later."""
    for name in cfg.metrics:
        parse_metric(name)
    reference_data(cfg, dataset)
    with torch.device('meta'):
        build_networks(cfg, dataset.spec)


def renamed(asked: RunConfig, cfg: RunConfig) -> tuple[str, ...]:
    """What --metrics-images has made of the metrics that were asked for."""
    gone = [name for name in asked.metrics if name not in cfg.metrics]
    new = [name for name in cfg.metrics if name not in asked.metrics]
    return (f'--metrics-images: {", ".join(gone)} with fewer images, under the name {", ".join(new)}',) if new else ()


def check_source(source: Source, cfg: RunConfig, dataset: ImageDataset) -> None:
    """Refuses, before a folder is made, networks of which nothing fits. What fits is told when it is taken."""
    with torch.device('meta'):
        G, D = build_networks(cfg, dataset.spec)
    transfer({'G': G, 'D': D, 'G_ema': G}, source, lambda line: None, lambda line: None)


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
    modules = plugin_modules(run.cfg)  # of loss and terms
    return to_record(run.cfg, run.dataset.spec) | {
        **({'source': run.origin} if run.origin else {}),
        'plugin': source_of(RECIPES.module_of(run.cfg.cfg)),
        **({'plugins': [source_of(module) for module in modules]} if modules else {}),
        'operations': dispatch.pick('auto', torch.empty(0, device=run.device)),
        'threads': torch.get_num_threads(),
        'launch': os.environ.get('TORCHELASTIC_RUN_ID') if distributed.is_launched() else None,
        **environment(('torch', 'numpy', 'pillow', 'scipy')),
    }


def drift(before: dict[str, Any], now: dict[str, Any]) -> tuple[str, ...]:
    """What has changed around a run since it began, so that its last bits may; a line each."""
    return tuple(
        f'{name} {before[name]} when the run began, {now.get(name)} now: it goes on, its last bits may differ'
        for name in ('versions', 'threads', 'operations', 'plugin', 'plugins')
        if name in before and before[name] != now.get(name)
    )


# ---- run folders


def find_run(given: dict[str, Any], world: World | None = None) -> RunFolder | None:
    """The folder of the run that goes on, if one does: the same in every process, for rank 0 looks.

    'auto' finds nothing on the first launch, and says nothing.
    """
    path = (world or World()).shared(lambda: _path_of(_find_run(given)))
    return None if path is None else RunFolder(Path(path))


def _path_of(folder: RunFolder | None) -> str | None:
    return None if folder is None else str(folder.path)


def _find_run(given: dict[str, Any]) -> RunFolder | None:
    if (again := restarted_run(Path(given['outdir']))) is not None:
        return again
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


def restarted_run(outdir: Path) -> RunFolder | None:
    """After the launcher has lost a process and started all again: the run that they trained."""
    if int(os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')) == 0:
        return None
    mine = {'launch': os.environ['TORCHELASTIC_RUN_ID'], 'argv': sys.argv}
    for config in sorted(outdir.glob('[0-9]*-*/config.json'), reverse=True):
        record = RunFolder(config.parent).record()
        if {name: record.get(name) for name in mine} == mine:
            return RunFolder(config.parent)
    return None


def is_run_folder(path: str) -> bool:
    """Whether a path is a run's folder."""
    return (Path(path) / 'config.json').is_file()


def run_name(run: Run, given: dict[str, Any]) -> str:
    """What the run folder is called, after its number."""
    return options.run_name(run.cfg, run.dataset.name, given)


def make_folder(run: Run, given: dict[str, Any], record: dict[str, Any], world: World | None = None) -> RunFolder:
    """A new run folder with its config.json, made by rank 0 for all processes."""

    def make() -> str:
        path = make_run_dir(Path(given['outdir']), run_name(run, given))
        write_json(path / 'config.json', record)
        return str(path)

    return RunFolder(Path((world or World()).shared(make)))
