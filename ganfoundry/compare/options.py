"""Options of compare.py, from the command line and from a plan file, as a plan."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import ConfigError
from dnnlib.registry import load_file
from ganfoundry.compare.plan import Plan, check_plan
from ganfoundry.compare.plan_file import read_plan_file
from ganfoundry.compare.rows import Row, parse_rows, with_flags
from ganfoundry.latent_options import parse_seeds
from metrics.spec import metric_list, parse_metric
from training.data.dataset import DataConfig, ImageDataset

MAX_RUNS = 10_000  # runs of one comparison
DEFAULTS: dict[str, Any] = {
    'kimg': 20,
    'batch': 16,
    'seeds': '0',
    'out': 'runs/compare',
    'metric': 'fd_efflite2k',
    'measurements': 8,
    'budget': 'kimg',
    'halving': 'off',
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareOptions:
    """The options of compare.py under their names in Python. None and (): not given.

    `ganfoundry/commands/compare.py` describes each option. `rows` is what a plan file gives in place of --cfgs.
    """

    cfgs: str | None = None
    plan: str | None = None
    data: str | None = None
    resolution: int | None = None
    cond: bool | None = None
    kimg: int | None = None
    batch: int | None = None
    seeds: str | None = None
    budget: str | None = None
    hours: float | None = None
    halving: str | None = None
    metric: str | None = None
    images: int | None = None
    measurements: int | None = None
    sets: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    small: bool | None = None
    out: str | None = None
    jobs: int | None = None
    threads: int | None = None
    launcher: str | None = None
    plugin: tuple[str, ...] = ()
    precision: str | None = None
    device: str | None = None
    dry_run: bool = False


def with_plan_file(options: CompareOptions) -> tuple[CompareOptions, tuple[Row, ...]]:
    """Returns the options, completed from the plan file, then from the defaults, and the rows of the file.

    Loads the plug-ins of both, which register the --cfg of rows. An option of the command line replaces that of the
    file. Of `set` and `flags`, which train.py reads from left to right, the file's come first, then those of a row,
    then --set and --flag of the command line.
    """
    given = {field.name: getattr(options, field.name) for field in fields(options)}
    rows: tuple[Row, ...] = ()
    for path in options.plugin:
        load_file(path)
    if options.plan is not None:
        found, rows = read_plan_file(Path(options.plan))
        if options.cfgs is None:
            rows = with_flags(rows, found.pop('sets', ()), found.pop('flags', ()), small=False, before=True)
        for name, value in found.items():
            if isinstance(value, tuple):
                given[name] = (*value, *given[name])
            elif given[name] is None:
                given[name] = value
    for name, value in DEFAULTS.items():
        given[name] = value if given[name] is None else given[name]
    return CompareOptions(**given), rows


def read_rows(options: CompareOptions, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Returns the rows of --cfgs, or those of the plan file with the flags of this command line.

    Args:
        options: The completed options.
        rows: Rows of the plan file.
    """
    small = bool(options.small)
    if options.cfgs is not None:
        return parse_rows(options.cfgs, options.sets, options.flags, small=small)
    if not rows:
        raise ConfigError('--cfgs is needed, for instance --cfgs=squeeze,stylegan2; or a --plan with rows')
    return with_flags(rows, options.sets, options.flags, small=small)


def make_plan(options: CompareOptions, rows: tuple[Row, ...], command: Sequence[str]) -> Plan:
    """Returns the plan of completed options.

    Args:
        options: The completed options.
        rows: Rows of the plan file.
        command: Words of the command line, for the report.

    Raises:
        ConfigError: If options contradict each other.
    """
    assert options.seeds is not None
    assert options.metric is not None
    metrics = () if options.metric == 'none' else metric_list(options.metric)
    seeds = parse_seeds(options.seeds)
    chosen = read_rows(options, rows)
    if (num_runs := len(seeds) * len(chosen)) > MAX_RUNS:
        raise ConfigError(f'--seeds={options.seeds}: {num_runs} runs, and at most {MAX_RUNS} are made; name fewer')
    launcher = tuple(shlex.split(options.launcher or ''))
    devices = gpus(options.device) if not launcher else ()
    jobs = options.jobs or max(len(devices), 1)
    plan = Plan(
        rows=chosen,
        seeds=tuple(dict.fromkeys(seeds)),
        kimg=options.kimg or 0,
        batch=options.batch or 0,
        metrics=tuple(parse_metric(name).name for name in metrics),
        images=options.images,
        measurements=options.measurements or 0,
        budget=options.budget,  # type: ignore[arg-type]  # click and the plan file accept no other
        hours=options.hours,
        halving=options.halving,  # type: ignore[arg-type]
        shared=shared_flags(options),
        jobs=jobs,
        threads=options.threads or max((os.cpu_count() or 1) // jobs, 1),
        devices=devices,
        launcher=launcher,
        command=tuple(command),
    )
    check_plan(plan)
    return plan


def shared_flags(options: CompareOptions) -> tuple[str, ...]:
    """Returns the flags of train.py that all runs share besides their budget."""
    flags = [f'--{name}={getattr(options, name)}' for name in ('resolution', 'precision', 'device')]
    given = [flag for flag in flags if not flag.endswith('=None')]
    given += ['--cond=1'] if options.cond else []
    given += [f'--plugin={Path(path).absolute()}' for path in options.plugin]
    return (*given, f'--data={Path(options.data).absolute()}') if options.data else tuple(given)


def gpus(device: str | None) -> tuple[int, ...]:
    """Returns the numbers of the GPUs over which runs are distributed: none for --device=cpu or a single named GPU."""
    if device not in (None, 'cuda'):
        return ()
    return tuple(range(torch.cuda.device_count()))


def open_data(options: CompareOptions) -> ImageDataset:
    """Returns the data set of all runs."""
    return ImageDataset(DataConfig(path=options.data, resolution=options.resolution, cond=bool(options.cond)))
