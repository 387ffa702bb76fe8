"""Measuring and training from Python, exported by ganfoundry/__init__.py."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from dnnlib.errors import ConfigError, DataError
from dnnlib.paths import user_path
from dnnlib.registry import suggest
from dnnlib.time_limit import EXIT_CODE
from ganfoundry import trainer
from ganfoundry.batches import ImageFile
from ganfoundry.commands.train import main as train_command
from ganfoundry.meter import Meter, estimates_of
from ganfoundry.network import Network
from ganfoundry.options import TrainFlags
from ganfoundry.reals import data_sets, open_any_size
from ganfoundry.subjects import Subject, of_generator
from metrics.cache import Cache
from metrics.spec import metric_list, parse_metric
from metrics.uncertainty import Estimate
from torch_utils.devices import pick_device, prepare
from torch_utils.launch import launch
from training.data.dataset import DataConfig, ImageDataset


def measure(
    subject: Network | Iterable[np.ndarray | torch.Tensor],
    metrics: str | Sequence[str],
    *,
    data: str | Path | Network | None = None,
    mirror: bool | None = None,
    seed: int = 0,
    num_seeds: int = 1,
    bootstrap: int = 0,
    batch: int | None = None,
    device: str = 'auto',
    cache: bool = True,
) -> dict[str, Estimate]:
    """Measures a generator or finished images.

    The numbers of a `Network` are those of calc_metrics.py with the --precision that it was loaded with.

    Args:
        subject: A `Network`, or any iterable of batches, uint8 [N, H, W, C]. Images are taken until the metrics have
            enough, and kept in a temporary file.
        metrics: Names such as 'fid50k_full', as a sequence or a comma list.
        data: The real images: a zip or a folder, or a `Network` that was trained on them. Default: those that `subject`
            was trained on.
        mirror: Count x-flipped images as real, except in _full metrics; by default as in training.
        seed: Seed of latents, labels and noise.
        num_seeds: Number of seeds, from `seed` upward; with several, numbers are means with their errors.
        bootstrap: Number of random halves of the generated images that give the errors; 0 for none.
        batch: Number of images that the network draws at a time, which is part of a number; by default by their size.
        device: Device of the detectors for finished images; a `Network` is measured on its own.
        cache: Keep the features of the real images on disk.

    Returns:
        Estimates (value, std) by name. Metrics of several numbers have a name for each, such as
        'pr50k3_full_precision'.

    Raises:
        ConfigError: Names the metric or argument that is wrong.
        DataError: If the images do not fit the real ones, or are too few.
    """
    if isinstance(subject, str | Path):
        raise ConfigError(f'subject={str(subject)!r} is a path; measure(load(path), ...) measures the network there')
    names = _metric_names(metrics)
    needs_reals = any(parse_metric(name).needs_reals for name in names)
    if num_seeds > 1 and bootstrap > 0:
        raise ConfigError('num_seeds and bootstrap both give the errors; choose one of them')
    how: dict[str, Any] = {
        'seeds': tuple(range(seed, seed + num_seeds)),
        'replicates': bootstrap,
        'cache': Cache(warn=warnings.warn) if cache else None,
    }
    if isinstance(subject, Network):
        if isinstance(data, Network):
            raise ConfigError('data: a Network is measured against a zip or a folder, or its own training images')
        path = None if data is None else user_path(str(data))
        sets = data_sets(subject.snapshot, path, mirror, needs_reals=needs_reals, notify=warnings.warn)
        images = of_generator(subject.module, subject.spec, sets.labels, precision=subject.precision, batch_size=batch)
        return _numbers(Meter(sets.reals, subject.device, **how), names, images)
    if data is None and needs_reals:
        raise ConfigError('data is needed: finished images do not say which real ones to compare them with')
    if num_seeds > 1:
        raise ConfigError('num_seeds: finished images have no seed; bootstrap=20 gives their error')
    reals = None
    if isinstance(data, Network):
        reals = data_sets(data.snapshot, None, mirror, needs_reals=needs_reals, notify=warnings.warn).reals
    elif data is not None and needs_reals:
        reals = open_any_size(DataConfig(path=user_path(str(data)), mirror=bool(mirror)))
    chosen = pick_device(None if device == 'auto' else device)
    prepare(chosen)
    return _measure_batches(Meter(reals, chosen, **how), names, subject, reals)


def _measure_batches(
    meter: Meter, names: Sequence[str], batches: Iterable[np.ndarray | torch.Tensor], reals: ImageDataset | None
) -> dict[str, Estimate]:
    """Measures finished images.

    Args:
        meter: The real images with their detectors.
        names: Names of metrics.
        batches: Images, uint8 [N, H, W, C].
        reals: The real images, whose size the others must have; None if no metric compares with them.

    Raises:
        DataError: If the images do not fit, or are fewer than a metric needs.
    """
    with tempfile.TemporaryDirectory(prefix='ganfoundry-') as folder:
        size = None if reals is None else (reals.spec.height, reals.spec.width)
        file = ImageFile(Path(folder) / 'images', size)
        images = Subject(
            fakes=lambda num_images, seed: file.parts,
            paths=None,
            record=dict,
            classes=lambda num_images, seed: None,
        )
        for name in names:
            meter.check(name, images)
        needed = {name: parse_metric(name).num_fakes for name in names}
        file.write(batches, max(needed.values()))
        for name, count in needed.items():
            if file.num_images < count:
                raise DataError(f'{name} needs {count} images, there are {file.num_images}; ask for a smaller metric')
        return _numbers(meter, names, images)


def _metric_names(metrics: str | Sequence[str]) -> list[str]:
    """Returns the names of metrics, each checked."""
    names = metric_list(metrics if isinstance(metrics, str) else ','.join(metrics))
    if not names:
        raise ConfigError('metrics is empty; name at least one, such as fid50k_full')
    return list(names)


def _numbers(meter: Meter, names: Sequence[str], subject: Subject) -> dict[str, Estimate]:
    """Checks all metrics, then measures them; the first failure is raised."""
    for name in names:
        meter.check(name, subject)
    found: dict[str, Estimate] = {}
    for _, line in meter.measure(names, subject):
        if isinstance(line, Exception):
            raise line
        found |= estimates_of(line)
    return found


def train(**flags: Any) -> Path:
    """Trains, and returns the run folder.

    Ctrl-C saves the state and then raises KeyboardInterrupt; `train(resume=FOLDER)` continues, bit for bit. After
    `time_limit` the folder is returned, as after the end.

    Args:
        **flags: The options of train.py with underscores: cfg='squeeze', data='ffhq.zip', batch_gpu=4. `set` is a dict
            of config fields, {'r1.interval': 8}; `time_limit` is --for. With gpus=8 the processes are started by
            `python -m ganfoundry`, which knows registered plug-ins only through plugin='FILE'.

    Raises:
        UserError: As train.py prints it: names the flag, file or image at fault.
        RuntimeError: If one of several processes fails.
    """
    args = train_arguments(flags)
    try:
        parsed = TrainFlags(**train_command.make_context('train', list(args)).params)
    except click.UsageError as error:
        raise ConfigError(error.format_message()) from None
    if parsed.dry_run or parsed.cfg == 'list':
        raise ConfigError('train() trains; for a plan or a list use `ganfoundry train`')
    trainer.load_plugins(parsed)
    prepared = trainer.prepare_run(parsed)
    if prepared.num_missing:
        return _train_in_processes(prepared, args)
    folder, code = trainer.train_prepared(prepared)
    return _after(folder.path, code)


def _train_in_processes(prepared: trainer.PreparedRun, args: Sequence[str]) -> Path:
    """Starts the processes of a run, and returns its folder."""
    outdir, flags = Path(prepared.flags.outdir), prepared.flags
    before = set(outdir.glob(f'*-{prepared.name}'))
    root, path = str(Path(__file__).resolve().parent.parent), os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = root if path is None else os.pathsep.join((root, path))
    try:
        code = launch(prepared.num_missing, flags.max_restarts or 0, ['-m', 'ganfoundry', 'train', *args])
    finally:
        if path is None:
            del os.environ['PYTHONPATH']
        else:
            os.environ['PYTHONPATH'] = path
    new = sorted(set(outdir.glob(f'*-{prepared.name}')) - before)
    if prepared.folder is None and not new:
        raise RuntimeError(f'training ended with exit code {code} before it made a folder')
    return _after(prepared.folder.path if prepared.folder is not None else new[0], code)


def _after(folder: Path, code: int) -> Path:
    """Returns the folder of a run that ended with `code`, or raises what a signal or failure asks for."""
    if code == 130:
        raise KeyboardInterrupt
    if code in (129, 143):
        raise SystemExit(code)
    if code not in (0, EXIT_CODE):
        raise RuntimeError(f'{folder}: training ended with exit code {code}')
    return folder


def train_arguments(flags: Mapping[str, Any]) -> list[str]:
    """Returns keywords as the arguments of train.py: {'batch_gpu': 4} becomes ['--batch-gpu=4'].

    Raises:
        ConfigError: Names a keyword that is no flag, and the nearest one.
    """
    options: dict[str, click.Option] = {}
    for param in train_command.params:
        if isinstance(param, click.Option) and param.name is not None:
            options |= {param.name: param, param.opts[-1].lstrip('-').replace('-', '_'): param}
    args: list[str] = []
    for name, value in flags.items():
        if name not in options:
            raise ConfigError(f"train() has no flag '{name}': {suggest(name, options)}")
        option, flag = options[name], options[name].opts[-1]
        if option.is_flag:
            args += [flag] if value else []
        elif option.multiple:
            args += [f'{flag}={item}' for item in _items(value)]
        elif value is not None:
            args.append(f'{flag}={_text(value)}')
    return args


def _items(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f'{name}={item}' for name, item in value.items()]
    return [str(value)] if isinstance(value, str | Path) else [str(item) for item in value or ()]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return ','.join(value) if isinstance(value, list | tuple) else str(value)
