"""From the flags of a command line to a run that can be trained: facts, recipe, machine, overrides, folder."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dnnlib.addresses import is_url, public_url
from dnnlib.errors import CheckpointError, ConfigError
from dnnlib.files import write_json
from dnnlib.folders import make_run_dir
from dnnlib.provenance import environment, public_argv
from dnnlib.registry import source_of
from dnnlib.torch_defaults import spin_setting
from ganfoundry import options, processes
from ganfoundry.options import TrainFlags
from ganfoundry.reals import reference_data
from ganfoundry.run_length import check_decay, decay_of_length
from ganfoundry.same_data import data_digests
from metrics.spec import default_metrics, parse_metric
from torch_utils.devices import pick_device
from torch_utils.distributed import World
from torch_utils.launched import RUN_ID, is_launched, place
from torch_utils.ops import dispatch
from training.build import build_networks, resolve_precision, tf32_by_default
from training.config import RunConfig, apply_overrides, with_precision
from training.data.dataset import ImageDataset
from training.record import plugin_modules, to_record
from training.registry import RECIPES
from training.run.run_folder import RunFolder
from training.run.transfer import Source, address_of, load_source, transfer
from training.unused_labels import unused_labels

# ---- from flags to a config


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run before it has a state."""

    cfg: RunConfig
    dataset: ImageDataset
    device: torch.device
    notes: tuple[str, ...]  # lines for the log
    run_id: str | None  # id in config.json and in every state; None for a run of a version without ids
    source: Source | None = None  # networks of another run to start from
    origin: dict[str, str] | None = None  # record of the file that the run's first networks came from
    again: tuple[str, ...] = ()  # options that the command needs that continues the run
    pause_nimg: int | None = None  # number of images at which this launch pauses; no part of the config

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the log. They are computed here, since a run that is only looked up needs none."""
        return unused_labels(self.cfg, self.dataset.spec)


def new_run(flags: TrainFlags) -> Run:
    """Returns a new run: facts of the data, then the recipe, then settings of the machine, then flags and --set."""
    device = pick_device(flags.device)
    num_gpus = processes.num_processes(flags.gpus, device)
    dataset = ImageDataset(options.data_config(flags), flags.seed or 0)
    cfg = processes.recipe(
        flags.cfg,
        dataset.spec,
        num_gpus,
        deterministic=bool(flags.deterministic),
        own_batch=flags.batch is not None,
    )
    cfg = replace(cfg, data=dataset.cfg)
    cfg = with_precision(cfg, resolve_precision(flags.wanted_precision, device))
    changes, notes = machine_settings(device, cfg.precision, asks_for_metrics=flags.metrics is not None)
    if flags.transfers:
        changes |= options.TRANSFER
    changes |= all_changes(flags, cfg, num_gpus)
    decay, decay_notes = decay_of_length(cfg, changes)
    asked = apply_overrides(cfg, changes | decay)
    check_decay(asked)
    cfg = options.with_fewer_images(flags.metrics_images, asked)
    check(cfg, dataset)
    notes = options.notes_on(flags) + dataset.notes + notes + decay_notes + renamed(asked, cfg)
    source = None
    if flags.resume is not None and flags.transfers:
        changed = 'aug.kimg=100, aug.blur_sigma=0 and ema.rampup=none'
        notes += (f'transfer: {changed} as in StyleGAN2-ADA, unless --set says otherwise',)
        if flags.dry_run and is_url(address_of(flags.resume)):
            notes += (f'--resume={public_url(flags.resume)}: is downloaded when training begins',)
        else:
            source = load_source(flags.resume)
            check_source(source, cfg, dataset)
    origin = None if source is None else source.origin
    return Run(
        cfg=cfg,
        dataset=dataset,
        device=device,
        notes=notes,
        run_id=uuid.uuid4().hex,
        source=source,
        origin=origin,
        again=every_launch(flags),
    )


def every_launch(flags: TrainFlags) -> tuple[str, ...]:
    """Returns the options that every launch of a run needs: no record loads code."""
    plugins = tuple(f'--plugin={Path(path).absolute()}' for path in flags.plugin)
    detectors = tuple(f'--detector-path={item}' for item in flags.detector_path)
    return plugins + detectors + tuple(f'--log={name}' for name in flags.log)


def all_changes(flags: TrainFlags, cfg: RunConfig, num_gpus: int) -> dict[str, Any]:
    """Returns changes to a config by path: those of the flags and --set, and the share of each process in a batch.

    Args:
        flags: The command line.
        cfg: Config of the recipe, or of the run so far.
        num_gpus: Number of processes.
    """
    changes = options.config_changes(flags, cfg)
    return changes | processes.shares(
        cfg,
        num_gpus,
        batch=flags.batch,
        batch_gpu=flags.batch_gpu,
        deterministic=flags.deterministic,
        mbstd_group=flags.mbstd_group,
    )


def check(cfg: RunConfig, dataset: ImageDataset) -> None:
    """Refuses, before a folder is made, whatever building or measuring would refuse later."""
    for name in cfg.metrics:
        parse_metric(name)
    reference_data(cfg, dataset)
    with torch.device('meta'):
        build_networks(cfg, dataset.spec)


def renamed(asked: RunConfig, cfg: RunConfig) -> tuple[str, ...]:
    """Returns a note on the metrics that --metrics-images has renamed, if any."""
    gone = [name for name in asked.metrics if name not in cfg.metrics]
    new = [name for name in cfg.metrics if name not in asked.metrics]
    return (f'--metrics-images: {", ".join(gone)} with fewer images, under the name {", ".join(new)}',) if new else ()


def check_source(source: Source, cfg: RunConfig, dataset: ImageDataset) -> None:
    """Refuses, before a folder is made, networks of which nothing fits. The log reports later what was taken.

    Args:
        source: Networks to start from.
        cfg: Config of the new run.
        dataset: Its images.
    """
    with torch.device('meta'):
        G, D = build_networks(cfg, dataset.spec)
    transfer({'G': G, 'D': D, 'G_ema': G}, source, lambda line: None, lambda line: None)


def describe_transfer(run: Run) -> list[str]:
    """Returns the lines that say what a transfer takes from its source; none for a run without one."""
    lines: list[str] = []
    if run.source is not None:
        with torch.device('meta'):
            G, D = build_networks(run.cfg, run.dataset.spec)
        transfer({'G': G, 'D': D, 'G_ema': G}, run.source, lines.append, lambda line: None)
    return lines


def machine_settings(
    device: torch.device, precision: str, *, asks_for_metrics: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns config fields that depend on the machine rather than on the recipe, and notes on them.

    Args:
        device: The device that trains.
        precision: 'fp32', 'bf16' or 'fp16'.
        asks_for_metrics: Whether --metrics was given.
    """
    fields: dict[str, Any] = {'allow_tf32': tf32_by_default(precision, device)}
    notes: tuple[str, ...] = ()
    if device.type == 'cpu':
        fields |= {'workers': min(3, max((os.cpu_count() or 1) - 1, 0)), 'grid_images': 256}
    if names := default_metrics(device.type):
        fields['metrics'] = ','.join(names)
    elif not asks_for_metrics:
        notes = ('no metrics: the detector is not installed; pip install ".[metrics]" installs it',)
    return fields, notes


def record_of(run: Run, world: World | None = None) -> dict[str, Any]:
    """Returns the content of config.json: the config, the facts, and everything else that a number depends on.

    Args:
        run: The run.
        world: The processes that train. All of them call this function; rank 0 looks at the data.
    """
    digests = (world or World()).shared(lambda: data_digests(run.cfg, run.dataset))
    modules = plugin_modules(run.cfg)  # loss and terms
    modules += [module for name in run.cfg.metrics for module in parse_metric(name).plugins]
    modules = list(dict.fromkeys(modules))
    return to_record(run.cfg, run.dataset.spec) | {
        **({'run_id': run.run_id} if run.run_id else {}),
        **({'classes': list(names)} if (names := run.dataset.class_names) else {}),
        **({'source': run.origin} if run.origin else {}),
        **digests,
        'plugin': source_of(RECIPES.module_of(run.cfg.cfg)),
        **({'plugins': [source_of(module) for module in modules]} if modules else {}),
        'operations': dispatch.pick('auto', torch.empty(0, device=run.device)),
        'threads': torch.get_num_threads(),
        'spinning': spin_setting(),
        'launch': os.environ.get(RUN_ID) if is_launched() else None,
        **environment(('torch', 'numpy', 'pillow', 'scipy')),
    }


def drift(before: dict[str, Any], now: dict[str, Any]) -> tuple[str, ...]:
    """Returns a warning for each change of library, thread, operation or plug-in that may change the last bits."""
    return tuple(
        f'{name} {before[name]} when the run began, {now.get(name)} now: it continues, and its last bits may differ'
        for name in ('versions', 'threads', 'operations', 'plugin', 'plugins')
        if name in before and before[name] != now.get(name)
    )


# ---- run folders


def find_run(flags: TrainFlags, world: World | None = None) -> RunFolder | None:
    """Returns the folder of the run that --resume continues, or None. Rank 0 looks; all processes get its answer.

    'auto' finds nothing on the first launch, without a message.
    """
    path = (world or World()).shared(lambda: _path_of(_find_run(flags)))
    return None if path is None else RunFolder(Path(path))


def _path_of(folder: RunFolder | None) -> str | None:
    return None if folder is None else str(folder.path)


def _find_run(flags: TrainFlags) -> RunFolder | None:
    outdir, resume = Path(flags.outdir), flags.resume
    if (again := restarted_run(outdir)) is not None:
        return again
    if resume in ('auto', 'latest'):
        runs = [path.parent for path in outdir.glob('[0-9]*-*/config.json')]
        if resume == 'auto' and runs:
            name = run_name(new_run(flags), flags)
            runs = [path for path in runs if path.name.partition('-')[2] == name]
        if not runs and resume == 'latest':
            raise ConfigError(f'--resume=latest: no run in {outdir}; name another --outdir')
        return RunFolder(max(runs)) if runs else None
    return RunFolder(Path(resume)) if resume is not None and flags.transfers and is_run_folder(resume) else None


def restarted_run(outdir: Path) -> RunFolder | None:
    """Returns the run that the launcher's processes trained before it lost one and restarted them all, or None."""
    if place().attempt == 0 or RUN_ID not in os.environ:
        return None
    mine = {'launch': os.environ[RUN_ID], 'argv': public_argv()}
    for config in sorted(outdir.glob('[0-9]*-*/config.json'), reverse=True):
        try:
            record = RunFolder(config.parent).record()
        except CheckpointError:  # another run, whose record is damaged
            continue
        if {name: record.get(name) for name in mine} == mine:
            return RunFolder(config.parent)
    return None


def is_run_folder(path: str) -> bool:
    """Whether a path is a run's folder."""
    return (Path(path) / 'config.json').is_file()


def run_name(run: Run, flags: TrainFlags) -> str:
    """Returns the run folder's name after its number."""
    return options.folder_name(run.cfg, run.dataset.name, flags)


def make_folder(outdir: Path, name: str, record: dict[str, Any], world: World | None = None) -> RunFolder:
    """Creates a run folder with its config.json; rank 0 does it for all processes.

    Args:
        outdir: Folder that holds the runs.
        name: The folder's name after its number.
        record: Content of config.json.
        world: The processes that train.
    """

    def make() -> str:
        path = make_run_dir(outdir, name)
        try:
            write_json(path / 'config.json', record)
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)  # a folder without config.json is no run
            raise ConfigError(
                f'--outdir={outdir}: a run folder cannot be filled there ({error.strerror}); make room, or name '
                f'another --outdir'
            ) from None
        return str(path)

    return RunFolder(Path((world or World()).shared(make)))
