"""Metrics of generators and of finished images, each number with a record of everything it depends on.

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from dnnlib.log import format_time
from dnnlib.provenance import environment
from dnnlib.registry import source_of
from dnnlib.signals import StopRequested
from ganfoundry.subjects import Subject, reference, whole
from metrics import evaluate
from metrics.cache import Cache
from metrics.compare import read_estimates
from metrics.detectors.lpips import Lpips
from metrics.detectors.table import get_detector
from metrics.evaluate import GeneratedStreams, MetricEvaluator
from metrics.extraction import ProgressCallback
from metrics.reference import ESTIMATORS
from metrics.sheet import draw_sheet
from metrics.spec import MetricSpec, parse_metric
from metrics.streams.paths import Paths
from metrics.uncertainty import Estimate, as_results
from torch_utils.devices import deterministic_float32
from torch_utils.distributed import World
from training.data.dataset import ImageDataset
from training.data.stored_image import to_8_bits

DETECTOR_BATCH = 64  # images; a larger batch does not make a detector faster
MetricLine = dict[str, Any]  # one line of metric-NAME.jsonl


class Meter:
    """Measures one subject after the other against one set of reals, which are read once.

    Everything is computed in IEEE float32, generators included, whatever the process does otherwise: a snapshot has the
    same numbers in training and in calc_metrics.py.

    Args:
        reals: The real images; None if no metric compares with them.
        device: Device of the detectors.
        seeds: Seeds of latents, labels, noise and subsets; several give every number a mean and its standard error.
        replicates: Number of half samples for the error of a single measurement, 0 for no error.
        cache: As in `MetricEvaluator`.
        progress: As in `MetricEvaluator`.
        world: As in `MetricEvaluator`.
    """

    def __init__(
        self,
        reals: ImageDataset | None,
        device: torch.device,
        *,
        seeds: Sequence[int] = (0,),
        replicates: int = 0,
        cache: Cache | None = None,
        progress: ProgressCallback | None = None,
        world: World | None = None,
    ) -> None:
        self._world = world or World()
        self.seeds, self.replicates = tuple(seeds), replicates
        self._sets = {} if reals is None else {False: reals, True: whole(reals)}
        self._references = {full: reference(images) for full, images in self._sets.items()}
        if reals is not None and self._sets[True] is reals:  # one set: its contents are read once
            self._references[True] = self._references[False]
        plain, originals = self._references.get(False), self._references.get(True)
        self.evaluator = MetricEvaluator(
            reals=plain,
            originals=None if originals is plain else originals,
            detector_for=lambda name: get_detector(name, device),
            distance_for=lambda: Lpips(device),
            batch_size=DETECTOR_BATCH,
            cache=cache,
            replicates=replicates,
            device=device,
            progress=progress,
            world=self._world,
        )

    def measure(self, names: Sequence[str], subject: Subject) -> Iterator[tuple[str, MetricLine | Exception]]:
        """Yields (name, line or exception); the failure of one metric does not affect the others.

        Metrics that share a detector are measured in one pass, and one by one if that fails. A line holds results,
        metric, total_time, total_time_str, num_gpus, seed and provenance, and by_seed if there are several seeds.
        """
        for group in by_detector(names):
            try:
                yield from self._lines(group, subject).items()
            except StopRequested:
                raise
            except Exception as error:  # any failure: the other metrics are still measured
                if len(group) == 1:
                    yield group[0], error
                    continue
                for name in group:
                    yield from self.measure([name], subject)

    def check(self, name: str, subject: Subject) -> None:
        """Raises what measuring would raise before any image is read; the metric's network is built."""
        self.evaluator.check(name, subject.paths)
        path = parse_metric(name).path
        if path is not None and subject.paths is not None:
            subject.paths(path, 0, 1)

    def provenance(self, name: str, subject: Subject) -> dict[str, Any]:
        """Returns everything that the number depends on besides the network's own record."""
        spec = parse_metric(name)
        record = self.evaluator.provenance(name)
        if spec.needs_reals:
            record['reals_sha256'] = self._references[spec.full].digest
        if spec.definition.uses_classes:
            record |= self._classes(spec, subject)
        record['estimator'] = f'{spec.kind}, {", ".join(f"{what} {v}" for what, v in ESTIMATORS.items())}'
        if spec.plugins:
            record['plugins'] = [source_of(module) for module in spec.plugins]
        return {
            **record,
            **subject.record(),
            'seeds': list(self.seeds),
            'replicates': self.replicates,
            **_environment(),
        }

    def _classes(self, spec: MetricSpec, subject: Subject) -> dict[str, Any]:
        """Returns digests of the classes that a metric reads: `reals_sha256` may be that of images without labels.

        Generated images without classes make all images one class; the labels of the real ones are not read then.
        """
        found = {'fakes': subject.classes(spec.num_fakes, self.seeds[0])}
        if found['fakes'] is not None and spec.needs_reals:
            reals = self._references[spec.full]
            found['reals'] = None if reals.classes is None else reals.classes(spec.num_reals(reals.num_images))
        return {
            f'{name}_classes_sha256': hashlib.sha256(classes.numpy().tobytes()).hexdigest()
            for name, classes in found.items()
            if classes is not None
        }

    def sheet(self, name: str, subject: Subject) -> np.ndarray | None:
        """Draws the sheet of a metric that has just been measured, uint8 [3, H, W]; None if it has none."""
        if name not in self.evaluator.sheets:
            return None
        spec = parse_metric(name)
        reals = self._sets[spec.full]

        def fakes_at(positions: Sequence[int]) -> list[np.ndarray]:
            stream = subject.fakes(spec.num_fakes, self.seeds[-1])(range(i, i + 1) for i in positions)
            return [np.asarray(torch.as_tensor(images)[0].cpu()) for images in stream]

        def reals_at(positions: Sequence[int]) -> list[np.ndarray]:
            return [to_8_bits(reals.image(i)) for i in positions]

        with deterministic_float32():
            return draw_sheet(self.evaluator.sheets[name], fakes_at, reals_at)  # [3, H, W]

    def caption(self, name: str) -> str:
        """Returns the caption of a metric's sheet."""
        return self.evaluator.sheets[name].caption

    def _lines(self, names: Sequence[str], subject: Subject) -> dict[str, MetricLine]:
        began = time.monotonic()
        with deterministic_float32():
            runs = {
                seed: self.evaluator.evaluate(
                    names, fakes=subject.fakes, paths=subject.paths, classes=subject.classes, seed=seed
                )
                for seed in self.seeds
            }
        total_time = time.monotonic() - began
        found = {name: {seed: results[name] for seed, results in runs.items()} for name in names}
        return {name: self._line(name, numbers, total_time, subject) for name, numbers in found.items()}

    def _line(self, name: str, runs: dict[int, dict[str, float]], total_time: float, subject: Subject) -> MetricLine:
        """Makes the line of one metric.

        Args:
            name: The metric.
            runs: Its numbers by seed.
            total_time: Seconds of all metrics that shared the pass.
            subject: What was measured.
        """
        results: dict[str, float] = runs[self.seeds[0]]
        by_seed: dict[str, Any] = {}
        if len(runs) > 1:
            estimates = read_estimates([{'results': numbers, 'seed': seed} for seed, numbers in runs.items()])
            results = as_results(estimates)
            by_seed = {'by_seed': {str(seed): numbers for seed, numbers in runs.items()}}
        return {
            'results': results,
            'metric': name,
            'total_time': total_time,
            'total_time_str': format_time(total_time),
            'num_gpus': self._world.size,
            'seed': self.seeds[0],
            **by_seed,
            'provenance': self.provenance(name, subject),
        }


def serve_meter(
    task: dict[str, Any],
    world: World,
    device: torch.device,
    open_target: Callable[[], tuple[Meter, Subject]],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Computes this process's share of a pass of rank 0's `Meter.measure`.

    Args:
        task: The description of the pass that rank 0 sent.
        world: The processes.
        device: As in rank 0's meter.
        open_target: Returns the same meter and subject as on rank 0.
        check: Called after each part; its exceptions end the pass in all processes.
    """

    def make() -> tuple[MetricEvaluator, GeneratedStreams, Paths | None]:
        meter, subject = open_target()
        return meter.evaluator, subject.fakes, subject.paths

    with deterministic_float32():
        evaluate.serve(task, world, device, make, check)


def by_detector(names: Sequence[str]) -> list[list[str]]:
    """Groups metrics by their network, in the order of first occurrence; each metric of paths is a group."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        spec = parse_metric(name)
        groups.setdefault(spec.detector if spec.path is None else name, []).append(name)
    return list(groups.values())


def estimates_of(line: MetricLine) -> dict[str, Estimate]:
    """Returns the numbers of a line with their errors, if these are known."""
    if 'by_seed' in line:
        return read_estimates([{'results': numbers, 'seed': seed} for seed, numbers in line['by_seed'].items()])
    return read_estimates([line])


@functools.cache
def _environment() -> dict[str, Any]:
    """Returns versions and commit, determined once."""
    known = environment(('torch', 'numpy', 'scipy', 'pillow'))
    return {'versions': known['versions'], 'commit': known['commit']}
