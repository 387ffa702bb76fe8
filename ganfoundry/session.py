"""Measurement of targets by calc_metrics.py, and their records in the run folders."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import ConfigError, DataError
from dnnlib.files import append_line
from ganfoundry.meter import Meter, MetricLine, estimates_of, serve_meter
from ganfoundry.reals import data_sets, in_size, open_any_size
from ganfoundry.subjects import Subject, of_generator, of_images
from ganfoundry.targets import Target
from metrics.cache import Cache
from metrics.compare import compare
from metrics.extraction import ProgressCallback
from metrics.spec import parse_metric, with_count
from torch_utils.distributed import PeerLost, World
from torch_utils.images import save_png
from training.build import resolve_precision
from training.data.dataset import DataConfig, ImageDataset
from training.run.lines import SETTINGS, first_result, same
from training.run.report import draw_metric
from training.run.run_folder import RunFolder
from training.run.snapshot import load_generator, load_snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureSettings:
    """Options of the command line, which apply to every target.

    Attributes:
        names: Metrics.
        device: Device of networks and detectors.
        data: Real images; None for those that the network was trained on.
        mirror: Count x-flipped images as real; None for the choice of the training.
        seeds: As in `Meter`.
        replicates: As in `Meter`.
        batch: Images drawn at a time; None for the default of their size.
        precision: Precision of the networks; None for that of the training.
        cache: As in `Meter`.
        progress: As in `Meter`.
        plot: Draw the curve of a metric in the run folder.
        world: As in `Meter`.
    """

    names: tuple[str, ...]
    device: torch.device
    data: str | None = None
    mirror: bool | None = None
    seeds: tuple[int, ...] = (0,)
    replicates: int = 0
    batch: int | None = None
    precision: str | None = None
    cache: Cache | None = None
    progress: ProgressCallback | None = None
    plot: bool = True
    world: World = field(default_factory=World)


@dataclass(frozen=True, kw_only=True)
class OpenTarget:
    """A target that is ready to be measured.

    Attributes:
        target: The target.
        meter: Measures it.
        subject: Its images.
        names: The metrics.
        key: Function from a metric to the name of its record in the run's folder.
        place: Fields of a line that describe the origin of the images.
    """

    target: Target
    meter: Meter
    subject: Subject
    names: tuple[str, ...]
    key: Callable[[str], str]
    place: MetricLine


class Session:
    """Measures targets one after the other; targets with the same reals share the detectors' output for them.

    With several processes, rank 0 measures and the others `serve`.

    Args:
        options: Options of the command line.
        notify: Prints sentences about targets that are skipped, renamed or drawn.
    """

    def __init__(self, options: MeasureSettings, notify: Callable[[str], None]) -> None:
        self._options = options
        self._notify = notify
        self._meters: dict[tuple[DataConfig | None, int], Meter] = {}
        self._served: Callable[[], OpenTarget]  # the target of rank 0, opened at its first pass

    def open(self, target: Target) -> OpenTarget:
        """Loads a target. Raises, before any image is read, if a metric cannot be measured."""
        opened = self._images(target) if target.is_images else self._network(target)
        for name in opened.names:
            opened.meter.check(name, opened.subject)
        return opened

    def measure(self, opened: OpenTarget, *, skip: bool = False) -> Iterator[MetricLine]:
        """Yields the lines of a target's metrics, each recorded in its run's folder as soon as it is known.

        With `skip`, a line of the folder with the same settings is yielded in place of a new measurement.
        """
        missing = []
        for name in opened.names:
            try:
                known = recorded(opened, name, opened.meter.provenance(name, opened.subject)) if skip else None
            except DataError:  # labels that cannot be used; measuring the metric reports them with its name
                known = None
            if known is None:
                missing.append(name)
            else:
                self._notify(f'{opened.target.path.name}: {name} has been measured already')
                yield known
        self._options.world.give({'target': [str(opened.target.path), opened.target.is_images]})
        failed = None
        for name, line in opened.meter.measure(missing, opened.subject):
            if isinstance(line, Exception):
                failed = line
                self._notify(f'{opened.target.path.name}: {name} failed: {line}')
                continue
            line = {**line, **opened.place, 'timestamp': time.time()}
            self._keep(opened, name, line)
            yield line
        if failed is not None:
            raise failed

    def serve(self, task: dict[str, Any]) -> None:
        """Works on a task of rank 0's `measure`. A failure is reported there."""
        if 'target' in task:
            path, is_images = task['target']
            self._served = functools.cache(lambda: self.open(Target(path=Path(path), is_images=is_images)))
            return
        options = self._options

        def meter_and_subject() -> tuple[Meter, Subject]:
            opened = self._served()
            return opened.meter, opened.subject

        try:
            serve_meter(task, options.world, options.device, meter_and_subject)
        except PeerLost:
            raise
        except Exception as error:
            self._notify(f'{options.world}: {type(error).__name__}: {error}')

    def _network(self, target: Target) -> OpenTarget:
        options, snapshot = self._options, load_snapshot(target.path)
        cfg, spec = snapshot.config()
        sets = data_sets(snapshot, options.data, options.mirror, needs_reals=self._needs_reals, notify=self._notify)
        precision = resolve_precision(options.precision or cfg.precision, options.device)
        G = load_generator(snapshot, options.device, precision)
        # A result against other images belongs to another curve than the run's own.
        own = options.data is None and options.mirror in (None, cfg.data.mirror)
        name, reals = target.path.name, '' if sets.reals is None else sets.reals.name
        return OpenTarget(
            target=target,
            meter=self._meter(sets.reals, cfg.seed),
            subject=of_generator(G, spec, sets.labels, precision=precision, batch_size=options.batch),
            names=options.names,
            key=lambda metric: metric if own or not parse_metric(metric).needs_reals else f'{metric}-{reals}',
            place={'snapshot': name, 'snapshot_pkl': name, 'nimg': snapshot.nimg} | ({'data': reals} if reals else {}),
        )

    @property
    def _needs_reals(self) -> bool:
        return any(parse_metric(name).needs_reals for name in self._options.names)

    def _images(self, target: Target) -> OpenTarget:
        options = self._options
        if options.data is None and self._needs_reals:
            raise ConfigError(f'{target.path}: images do not say what to compare them with; please specify --data')
        if len(options.seeds) > 1:
            raise ConfigError('--seeds draws new images, finished ones stay the same; --bootstrap=20 gives their error')
        images = open_any_size(DataConfig(path=str(target.path)))
        reals = None
        if options.data is not None and self._needs_reals:
            reals = open_any_size(DataConfig(path=options.data, mirror=bool(options.mirror)))
            reals = in_size(reals, images.spec, '--data', self._notify)
        return OpenTarget(
            target=target,
            meter=self._meter(reals, 0),
            subject=of_images(images),
            names=self._within(len(images), target),
            key=lambda metric: metric,
            place={'images': images.name} | ({} if reals is None else {'data': reals.name}),
        )

    def _within(self, num_images: int, target: Target) -> tuple[str, ...]:
        """Returns the metrics; one that asks for more images than exist is renamed to the number that exists."""
        names = []
        for name in self._options.names:
            fits = parse_metric(name).num_fakes <= num_images
            names.append(name if fits else with_count(name, num_images))
            if not fits:
                self._notify(f'{target.path}: holds {num_images} images, so {name} becomes {names[-1]}')
        return tuple(dict.fromkeys(names))

    def _meter(self, reals: ImageDataset | None, seed: int) -> Meter:
        """Returns the meter of a set of reals; the seed of the run chooses its --subset."""
        options = self._options
        key = (None, 0) if reals is None else (reals.cfg, seed if reals.cfg.subset is not None else 0)
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

    def _count_undefined(self, folder: RunFolder, key: str) -> None:
        """Says how many lines of a metric are left out of its curve, because their number is not finite."""
        lines = folder.results(key)
        undefined = sum(not math.isfinite(first_result(line)) for line in lines)
        if undefined:
            self._notify(
                f'{folder.metric(key).name}: NaN or infinity in {undefined} of {len(lines)} lines, which are not drawn'
            )

    def _keep(self, opened: OpenTarget, name: str, line: MetricLine) -> None:
        """Appends a new line to metric-NAME.jsonl, and draws the curve and, if the metric has one, the sheet."""
        folder = opened.target.folder
        try:
            if folder is not None and recorded(opened, name, line['provenance']) is None:
                append_line(folder.metric(opened.key(name)), json.dumps(line, allow_nan=False))
                self._count_undefined(folder, opened.key(name))
                if self._options.plot:
                    draw_metric(folder, opened.key(name))
            if (sheet := opened.meter.sheet(name, opened.subject)) is not None:
                path = Path(folder.path if folder else '.', f'{name}-{opened.target.path.stem}.png')
                save_png(sheet, path)
                self._notify(f'{path}: {opened.meter.caption(name)}')
        except OSError as error:
            self._notify(f'{opened.target.path.name}: {name} cannot be kept ({error}); its line is printed')


def recorded(opened: OpenTarget, name: str, provenance: dict[str, Any]) -> MetricLine | None:
    """Finds the line of the same measurement in the run's folder.

    Args:
        opened: The target.
        name: The metric.
        provenance: Everything that the number depends on.

    Returns:
        The line, None if there is none.
    """
    if opened.target.folder is None:
        return None
    lines = opened.target.folder.results(opened.key(name))
    found = (line for line in lines if all(line.get(field) == opened.place[field] for field in ('snapshot', 'nimg')))
    return next((line for line in found if same(line, {'provenance': provenance}, SETTINGS)), None)


def comparisons(a: OpenTarget, b: OpenTarget, lines: tuple[list[MetricLine], list[MetricLine]]) -> Iterator[MetricLine]:
    """Yields, for every number of two targets, whether they differ by more than noise.

    Args:
        a: The first target.
        b: The second target, measured against the same reals.
        lines: The lines of both.
    """
    names = (a.target.path.name, b.target.path.name)
    if names[0] == names[1]:
        names = (str(a.target.path), str(b.target.path))
    others = {line['metric']: estimates_of(line) for line in lines[1]}
    for line in lines[0]:
        spec = parse_metric(line['metric'])
        spreads = {f'{spec.name}_{suffix}' for suffix in spec.definition.without_error}
        for key, estimate in estimates_of(line).items():
            other = others[spec.name][key]
            if key in spreads and None in (estimate.std, other.std):  # half samples give a spread no error
                continue
            lower = None if key in spreads else spec.lower_is_better
            result = compare(estimate, other, key=key, names=names, lower_is_better=lower)
            fields = {name: value for name, value in result._asdict().items() if name != 'z'}  # infinite if std is 0
            yield {'comparison': key, 'networks': names, 'significant': result.significant, **fields}
