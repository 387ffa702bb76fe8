"""What calc_metrics.py is told to measure: snapshots, run folders, finished images; and where results are kept."""

from __future__ import annotations

import functools
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from dnnlib.download import fetch
from dnnlib.errors import ConfigError, DataError
from dnnlib.files import append_line
from ganfoundry.meter import (
    Line,
    Meter,
    Subject,
    check_shape,
    estimates_of,
    of_generator,
    of_images,
    reference_data,
    serve,
)
from metrics.cache import Cache
from metrics.compare import compare
from metrics.extraction import Progress
from metrics.spec import parse_metric, with_count
from metrics.uncertainty import Estimate
from torch_utils.distributed import PeerLost, World
from torch_utils.images import save_png
from training.build import resolve_precision
from training.data.dataset import DataConfig, ImageDataset
from training.run.report import draw_metric
from training.run.run_folder import SETTINGS, RunFolder, same
from training.run.snapshot import Snapshot, load_generator, load_snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One thing to measure. path: a snapshot's file, or a folder or zip of images. folder: the run it belongs to."""

    path: Path
    is_images: bool
    folder: RunFolder | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the command line says of every target. data, mirror: None for what the network was trained on."""

    names: tuple[str, ...]
    device: torch.device
    data: str | None = None
    mirror: bool | None = None
    seeds: tuple[int, ...] = (0,)
    replicates: int = 0
    batch: int | None = None
    precision: str | None = None
    cache: Cache | None = None
    progress: Progress | None = None
    plot: bool = True
    world: World = field(default_factory=World)


def find_targets(text: str, *, images: bool = False) -> list[Target]:
    """What a path or an address stands for: the snapshots of a run folder, newest first, or the one thing that it is.

    images: it is known to be images. A zip is images in any case, as is a folder that is no run's.
    """
    path = Path(text)
    if path.is_dir() and (path / 'config.json').is_file() and not images:
        folder = RunFolder(path)
        snapshots = sorted(path.glob('network-snapshot-*.safetensors'), reverse=True)
        if not snapshots:
            raise DataError(f'{path}: there is no network-snapshot-*.safetensors in this run folder yet')
        return [Target(path=snapshot, is_images=False, folder=folder) for snapshot in snapshots]
    if path.is_dir():
        return [Target(path=path, is_images=True)]
    path = fetch(text)
    if images or zipfile.is_zipfile(path):
        return [Target(path=path, is_images=True)]
    in_run = (path.parent / 'config.json').is_file()
    return [Target(path=path, is_images=False, folder=RunFolder(path.parent) if in_run else None)]


def reference_images(snapshot: Snapshot, data: str | None, mirror: bool | None) -> ImageDataset:
    """The data set of the run that made a snapshot, with what the flags change; labels are drawn from it too."""
    cfg, spec = snapshot.config()
    if data is None and cfg.data.path is not None and not Path(cfg.data.path).exists():
        raise DataError(f'{snapshot.path}: the images of its training ({cfg.data.path}) are not here; specify --data')
    changes: dict[str, Any] = {} if data is None else {'path': data, 'subset': None}
    if mirror is not None:
        changes['mirror'] = mirror
    dataset = ImageDataset(replace(cfg.data, **changes), cfg.seed)
    check_shape(dataset, spec, '--data')
    if dataset.spec.label_dim != spec.label_dim:
        raise DataError(
            f'--data={dataset.cfg.source}: its labels have {dataset.spec.label_dim} entries, those of the network '
            f'{spec.label_dim}; draw from labels that it knows'
        )
    return dataset


@dataclass(frozen=True, kw_only=True)
class Job:
    """A target that is ready to be measured. key: metric -> name of its record in the run's folder. place: what a line
    says of where the images are from."""

    target: Target
    meter: Meter
    subject: Subject
    names: tuple[str, ...]
    key: Callable[[str], str]
    place: Line


class Session:
    """Measures targets one after the other; those with the same reals share what was seen in them.

    Of several processes rank 0 measures, and the others `serve`.
    """

    def __init__(self, options: Options, tell: Callable[[str], None]) -> None:
        """tell: is told, in sentences, what is skipped, renamed or drawn."""
        self._options = options
        self._tell = tell
        self._meters: dict[tuple[DataConfig, int], Meter] = {}
        self._served: Callable[[], Job]  # what rank 0 is measuring, opened here when its first pass comes

    def open(self, target: Target) -> Job:
        """Loads what is to be measured, and refuses what cannot be, before any image is looked at."""
        job = self._images(target) if target.is_images else self._network(target)
        for name in job.names:
            job.meter.check(name, job.subject)
        return job

    def measure(self, job: Job, *, skip: bool = False) -> Iterator[Line]:
        """The lines of a target's metrics, each recorded in its run's folder as soon as there is one.

        skip: what the folder holds under the same settings is not measured again; its line is given.
        """
        missing = []
        for name in job.names:
            known = recorded(job, name, job.meter.provenance(name, job.subject)) if skip else None
            if known is None:
                missing.append(name)
            else:
                self._tell(f'{job.target.path.name}: {name} has been measured already')
                yield known
        self._options.world.give({'target': [str(job.target.path), job.target.is_images]})
        failed = None
        for name, line in job.meter.measure(missing, job.subject):
            if isinstance(line, Exception):
                failed = line
                self._tell(f'{job.target.path.name}: {name} failed: {line}')
                continue
            line = {**line, **job.place, 'timestamp': time.time()}
            self._keep(job, name, line)
            yield line
        if failed is not None:
            raise failed

    def serve(self, task: dict[str, Any]) -> None:
        """A task of rank 0's `measure`. What fails in it is told there."""
        if 'target' in task:
            path, is_images = task['target']
            self._served = functools.cache(lambda: self.open(Target(path=Path(path), is_images=is_images)))
            return
        options = self._options

        def job() -> tuple[Meter, Subject]:
            opened = self._served()
            return opened.meter, opened.subject

        try:
            serve(task, options.world, options.device, job)
        except PeerLost:
            raise
        except Exception as error:
            self._tell(f'{options.world}: {type(error).__name__}: {error}')

    def _network(self, target: Target) -> Job:
        options, snapshot = self._options, load_snapshot(target.path)
        dataset = reference_images(snapshot, options.data, options.mirror)
        cfg, _ = snapshot.config()
        reals = dataset if options.data is not None else reference_data(cfg, dataset)
        precision = resolve_precision(options.precision or cfg.precision, options.device)
        G = load_generator(snapshot, options.device, precision)
        # Against other images it is another curve: the run's own stays one of its own data.
        own = options.data is None and options.mirror in (None, cfg.data.mirror)
        name = target.path.name
        return Job(
            target=target,
            meter=self._meter(reals, cfg.seed),
            subject=of_generator(G, dataset, precision=precision, batch_size=options.batch),
            names=options.names,
            key=lambda metric: metric if own else f'{metric}-{reals.name}',
            place={'snapshot': name, 'snapshot_pkl': name, 'nimg': snapshot.nimg, 'data': reals.name},
        )

    def _images(self, target: Target) -> Job:
        options = self._options
        if options.data is None:
            raise ConfigError(f'{target.path}: images do not say what to compare them with; please specify --data')
        if len(options.seeds) > 1:
            raise ConfigError('--seeds draws anew, finished images are what they are; --bootstrap=20 gives their error')
        reals = ImageDataset(DataConfig(path=options.data, mirror=bool(options.mirror)))
        images = ImageDataset(DataConfig(path=str(target.path)))
        check_shape(reals, images.spec, '--data')
        return Job(
            target=target,
            meter=self._meter(reals, 0),
            subject=of_images(images),
            names=self._within(len(images), target),
            key=lambda metric: metric,
            place={'images': images.name, 'data': reals.name},
        )

    def _within(self, num_images: int, target: Target) -> tuple[str, ...]:
        """The metrics, those that ask for more images than there are under the names of as many as there are."""
        names = []
        for name in self._options.names:
            fits = parse_metric(name).num_fakes <= num_images
            names.append(name if fits else with_count(name, num_images))
            if not fits:
                self._tell(f'{target.path}: holds {num_images} images, so {name} becomes {names[-1]}')
        return tuple(dict.fromkeys(names))

    def _meter(self, reals: ImageDataset, seed: int) -> Meter:
        """seed: of the run, which chooses its --subset."""
        options, key = self._options, (reals.cfg, seed if reals.cfg.subset is not None else 0)
        if key not in self._meters:
            self._meters[key] = Meter(
                reals,
                options.device,
                seeds=options.seeds,
                replicates=options.replicates,
                cache=options.cache,
                progress=options.progress,
                world=options.world,
            )
        return self._meters[key]

    def _keep(self, job: Job, name: str, line: Line) -> None:
        """Appends to metric-NAME.jsonl what is not there, and draws the curve, and the sheet of a search for copies."""
        folder = job.target.folder
        try:
            if folder is not None and recorded(job, name, line['provenance']) is None:
                append_line(folder.metric(job.key(name)), json.dumps(line))
                if self._options.plot:
                    draw_metric(folder, job.key(name))
            if parse_metric(name).kind == 'mem':
                path = Path(folder.path if folder else '.', f'{name}-{job.target.path.stem}.png')
                save_png(job.meter.closest(name, job.subject), path)
                self._tell(f'{path}: samples that look most like real images, each beside those nearest to it')
        except OSError as error:
            self._tell(f'{job.target.path.name}: {name} cannot be kept ({error}); its line is printed')


def recorded(job: Job, name: str, provenance: dict[str, Any]) -> Line | None:
    """The line of the same measurement in the run's folder."""
    if job.target.folder is None:
        return None
    lines = job.target.folder.results(job.key(name))
    found = (line for line in lines if all(line.get(field) == job.place[field] for field in ('snapshot', 'nimg')))
    return next((line for line in found if same(line, {'provenance': provenance}, SETTINGS)), None)


def comparisons(a: Job, b: Job, lines: tuple[list[Line], list[Line]]) -> Iterator[Line]:
    """For every number that two targets have, whether they differ by more than noise."""
    names = (a.target.path.name, b.target.path.name)
    if names[0] == names[1]:
        names = (str(a.target.path), str(b.target.path))
    numbers: list[dict[str, Estimate]] = [{}, {}]
    for found, side in zip(numbers, lines, strict=True):
        for line in side:
            found |= estimates_of(line)
    for key in numbers[0]:
        result = compare(numbers[0][key], numbers[1][key], key=key, names=names)
        fields = {name: value for name, value in result._asdict().items() if name != 'z'}  # infinite where std is 0
        yield {'comparison': key, 'networks': names, 'significant': result.significant, **fields}
