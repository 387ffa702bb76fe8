"""Metrics by name, over streams of real and of generated images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dnnlib.errors import ConfigError, DataError
from metrics.detectors import Detector, get_detector
from metrics.extraction import Extraction, Images, Need, Progress, extract
from metrics.frechet import frechet_distance
from metrics.inception_score import inception_score
from metrics.kid import kernel_distance
from metrics.precision_recall import precision_recall
from metrics.spec import NUM_SPLITS, MetricSpec, parse_metric

Results = dict[str, dict[str, float]]


class Evaluator:
    """Measures one data set's real images against generators, time after time.

    The detectors and what they saw in the real images stay in memory, so a training run reads its reals once. A call
    that needs more of them than any before reads them again.

    reals: returns a fresh iterator of uint8 [N, C, H, W] batches in data-set order. num_reals: images in it.
    detector_for: builds a detector by name. batch_size: images that go to the detector at a time. progress: called
    with the source, the images done and the images in all; what it raises ends the evaluation.
    """

    def __init__(
        self,
        *,
        reals: Callable[[], Images],
        num_reals: int,
        detector_for: Callable[[str], Detector] = get_detector,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> None:
        self.reals = reals
        self.num_reals = num_reals
        self.detector_for = detector_for
        self.batch_size = batch_size
        self.progress = progress
        self._detectors: dict[str, Detector] = {}
        self._references: dict[str, Extraction] = {}

    def evaluate(self, names: Sequence[str], *, fakes: Callable[[int, int], Images], seed: int = 0) -> Results:
        """The metrics `names` of a generator, {name: {key: value}}, in the order of the names.

        fakes: (num_images, seed) -> iterator of uint8 [N, C, H, W] batches; called once a detector, for the largest
        number of images, and a smaller metric takes the first ones. seed: non-negative; with the images it decides
        every number. All names are checked before the first image is read.
        """
        specs = [parse_metric(name) for name in dict.fromkeys(names)]
        for spec in specs:
            self._check(spec)
        results: Results = {spec.name: {} for spec in specs}
        for name in dict.fromkeys(spec.detector for spec in specs):
            group = [spec for spec in specs if spec.detector == name]
            reals = self._reference(name, group)
            generated = self._extract(fakes(max(s.num_fakes for s in group), seed), name, fake_need(group), 'generated')
            for spec in group:
                results[spec.name] = measure(spec, reals, generated, self.num_reals, seed)
        return results

    def _check(self, spec: MetricSpec) -> None:
        least = spec.min_images
        if spec.num_fakes < least:
            raise ConfigError(f'{spec.name} asks for {spec.num_fakes} generated images, it needs at least {least}')
        if spec.kind != 'is' and self.num_reals < least:
            raise DataError(f'{spec.name} needs at least {least} real images, the data set has {self.num_reals}')
        if spec.kind == 'is' and not self._detector(spec.detector).num_classes:
            raise ConfigError(f'{spec.name}: the detector {spec.detector} has no classes to take the score over')

    def _detector(self, name: str) -> Detector:
        if name not in self._detectors:
            self._detectors[name] = self.detector_for(name)
        return self._detectors[name]

    def _reference(self, name: str, group: list[MetricSpec]) -> Extraction | None:
        """What the detector sees in the real images, as far as the group looks at them."""
        need = real_need(group, self.num_reals)
        if need is None:
            return None
        held = self._references.get(name)
        if held is None or not held.need.covers(need):
            need = need if held is None else need.union(held.need)
            self._references[name] = self._extract(self.reals(), name, need, 'real')
        return self._references[name]

    def _extract(self, images: Images, name: str, need: Need, kind: str) -> Extraction:
        source = f'{kind} images for {name}'
        detector = self._detector(name)
        return extract(images, detector, need, batch_size=self.batch_size, source=source, progress=self.progress)


def evaluate(
    names: Sequence[str],
    *,
    reals: Callable[[], Images],
    fakes: Callable[[int, int], Images],
    num_reals: int,
    seed: int = 0,
    detector_for: Callable[[str], Detector] = get_detector,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Results:
    """Measures once; see `Evaluator`, which this makes and drops, for the arguments and the results."""
    evaluator = Evaluator(
        reals=reals, num_reals=num_reals, detector_for=detector_for, batch_size=batch_size, progress=progress
    )
    return evaluator.evaluate(names, fakes=fakes, seed=seed)


def real_need(group: Sequence[MetricSpec], num_reals: int) -> Need | None:
    """What the metrics of one detector want to know of the real images; None if nothing."""
    specs = [spec for spec in group if spec.kind != 'is']
    if not specs:
        return None
    counts = tuple(sorted({spec.num_reals(num_reals) for spec in specs}))
    return Need(counts=counts, features=any(spec.kind in ('kid', 'pr') for spec in specs))


def fake_need(group: Sequence[MetricSpec]) -> Need:
    """What the metrics of one detector want to know of the generated images."""
    return Need(
        counts=tuple(sorted({spec.num_fakes for spec in group})),
        features=any(spec.kind in ('kid', 'pr') for spec in group),
        probabilities=any(spec.kind == 'is' for spec in group),
    )


def measure(
    spec: MetricSpec, reals: Extraction | None, fakes: Extraction, num_reals: int, seed: int
) -> dict[str, float]:
    """The numbers of one metric under the keys of its jsonl line. `reals` may be None for the Inception score only."""
    if spec.kind == 'is':
        mean, std = inception_score(fakes.probabilities(spec.num_fakes), num_splits=NUM_SPLITS)
        return {f'{spec.name}_mean': mean, f'{spec.name}_std': std}
    assert reals is not None
    real_count = spec.num_reals(num_reals)
    if spec.kind == 'fd':
        real_moments = reals.stats(real_count).mean_cov()
        return {spec.name: frechet_distance(*real_moments, *fakes.stats(spec.num_fakes).mean_cov())}
    real, fake = reals.features(real_count), fakes.features(spec.num_fakes)  # [N, D], [M, D]
    if spec.kind == 'kid':
        return {spec.name: kernel_distance(real, fake, np.random.default_rng(seed))}
    precision, recall = precision_recall(real, fake, neighbours=spec.neighbours)
    return {f'{spec.name}_precision': precision, f'{spec.name}_recall': recall}
