"""Metrics by name, over streams of real and of generated images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from dnnlib.errors import ConfigError, DataError, UserError
from metrics.cache import Cache
from metrics.detectors import Detector, get_detector, provenance
from metrics.extraction import Extraction, Images, Need, Progress, extract
from metrics.lpips import Lpips
from metrics.measure import Measurement, fake_need, real_need
from metrics.memorisation import Pairs
from metrics.ppl import PathDistance, Paths, path_length, step_lengths
from metrics.reference import Reference, SeenReference
from metrics.spec import MetricSpec, parse_metric
from metrics.uncertainty import Estimate, as_results, half_sample_std

Results = dict[str, dict[str, float]]
Fakes = Callable[[int, int], Images]  # (num_images, seed) -> batches of uint8 [N, C, H, W]


class Evaluator:
    """Measures generators against one data set, time after time.

    The detectors and what they saw in the real images stay in memory, so a training run reads its reals once, and with
    a cache not even that. What a call needs beyond is read again.

    reals: the images as the run trains on them, x-flips included. originals: the whole data set, without x-flips and
    subsets, which `_full` metrics compare with; None where that is the same. detector_for: builds a detector by name.
    distance_for: builds LPIPS. batch_size: images that go to the detector at a time. cache: where to keep what was seen
    in the reals; None keeps nothing. replicates: half samples that the error of each number comes from, 0 for none.
    device: where features are compared; a CPU unless it is CUDA, since the others lack float64. progress: called with
    the source, the images done and the images in all; what it raises ends the evaluation.
    """

    def __init__(
        self,
        *,
        reals: Reference,
        originals: Reference | None = None,
        detector_for: Callable[[str], Detector] = get_detector,
        distance_for: Callable[[], PathDistance] = Lpips,
        batch_size: int = 64,
        cache: Cache | None = None,
        replicates: int = 0,
        device: torch.device | str = 'cpu',
        progress: Progress | None = None,
    ) -> None:
        self.batch_size = batch_size
        self.cache = cache
        self.replicates = replicates
        self.progress = progress
        self.device = torch.device(device) if torch.device(device).type == 'cuda' else torch.device('cpu')
        self.pairs: dict[str, Pairs] = {}  # by the name of a `mem` metric: what the last evaluation found closest
        self._references = {False: reals} if originals is None else {False: reals, True: originals}
        self._detector_for = detector_for
        self._distance_for = distance_for
        self._detectors: dict[str, Detector] = {}
        self._distance: PathDistance | None = None
        self._seen: dict[tuple[str, bool], SeenReference] = {}

    def evaluate(self, names: Sequence[str], *, fakes: Fakes, paths: Paths | None = None, seed: int = 0) -> Results:
        """The metrics `names` of a generator, {name: {key: value}}, in the order of the names.

        With `replicates`, each key is followed by `<key>_std` and the 95 % interval, see `metrics.uncertainty`.

        fakes: called once a detector, for the largest number of images, and a smaller metric takes the first ones.
        paths: pairs of images for PPL. seed: non-negative; with the images it decides every number. All names are
        checked before the first image is read.
        """
        specs = [parse_metric(name) for name in dict.fromkeys(names)]
        for spec in specs:
            self._check(spec, paths)
        walks = [(spec, paths(spec.path, seed, spec.num_fakes)) for spec in specs if paths and spec.path]
        results: Results = {spec.name: {} for spec in specs}
        for name in dict.fromkeys(spec.detector for spec in specs if spec.kind != 'ppl'):
            group = [spec for spec in specs if spec.detector == name]
            reals = {full: self._real(name, full, group) for full in self._references}
            generated = self._generated(name, group, fakes, seed)
            for spec in group:
                results[spec.name] = self._measured(spec, reals[self._set_of(spec)], generated, seed)
        for spec, walk in walks:
            results[spec.name] = self._path_length(spec, walk, seed)
        return results

    def usable(self, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The metrics whose networks can be had, and of the others why not, in a sentence each by name.

        Networks are built, and downloaded where they may be; a second call costs nothing. ConfigError for a name that
        is none.
        """
        usable, refused = [], {}
        for name in dict.fromkeys(names):
            spec = parse_metric(name)
            try:
                self._lpips() if spec.kind == 'ppl' else self._detector(spec.detector)
                usable.append(name)
            except UserError as error:
                refused[name] = f'{name} cannot be measured: {error}'
        return usable, refused

    def provenance(self, name: str) -> dict[str, Any]:
        """What a record of a metric's number should say of where it comes from."""
        spec = parse_metric(name)
        if spec.kind == 'ppl':
            network = self._lpips()
            return {'detector': spec.detector, 'digest': network.digest, 'preprocessing': network.preprocessing}
        record: dict[str, Any] = dict(provenance(self._detector(spec.detector)))
        if spec.needs_reals:
            reference = self._references[self._set_of(spec)]
            record |= {'num_reals': spec.num_reals(reference.num_images), 'reals': reference.name}
            record |= {} if self.cache is None else {'reals_sha256': reference.digest}
        return {**record, 'num_fakes': spec.num_fakes}

    def _check(self, spec: MetricSpec, paths: Paths | None) -> None:
        least = spec.min_images * (2 if self.replicates else 1)
        num_reals = self._references[self._set_of(spec)].num_images
        if spec.num_fakes < least:
            errors = ' with its error from halves' if self.replicates else ''
            raise ConfigError(
                f'{spec.name} asks for {spec.num_fakes} generated images, it needs at least {least}{errors}'
            )
        if spec.needs_reals and num_reals < spec.min_images:
            raise DataError(f'{spec.name} needs at least {spec.min_images} real images, the data set has {num_reals}')
        if spec.kind == 'ppl' and paths is None:
            raise ConfigError(f'{spec.name} needs a generator to walk through; images alone have no paths')
        if spec.kind == 'is' and not self._detector(spec.detector).num_classes:
            raise ConfigError(f'{spec.name}: the detector {spec.detector} has no classes to take the score over')

    def _detector(self, name: str) -> Detector:
        if name not in self._detectors:
            self._detectors[name] = self._detector_for(name)
        return self._detectors[name]

    def _lpips(self) -> PathDistance:
        self._distance = self._distance or self._distance_for()
        return self._distance

    def _set_of(self, spec: MetricSpec) -> bool:
        """Which of the references a metric compares with."""
        return spec.full and True in self._references

    def _real(self, name: str, full: bool, group: list[MetricSpec]) -> Extraction | None:
        """What the detector sees in a reference, as far as the metrics of the group look at it."""
        reference, need = self._references[full], Need()
        for spec in group:
            if spec.needs_reals and self._set_of(spec) == full:
                need = need.union(real_need(spec, reference.num_images))
        if not need.num_items:
            return None
        if (name, full) not in self._seen:
            source = f'real images for {name}'
            self._seen[name, full] = SeenReference(reference, self._detector(name), self.cache, source)
        return self._seen[name, full].extraction(need, batch_size=self.batch_size, progress=self.progress)

    def _generated(self, name: str, group: list[MetricSpec], fakes: Fakes, seed: int) -> Extraction:
        need = Need()
        for spec in group:
            need = need.union(fake_need(spec, one_by_one=self.replicates > 0))
        images = fakes(need.num_items, seed)
        source = f'generated images for {name}'
        detector = self._detector(name)
        return extract(images, detector, need, batch_size=self.batch_size, source=source, progress=self.progress)

    def _measured(self, spec: MetricSpec, reals: Extraction | None, fakes: Extraction, seed: int) -> dict[str, float]:
        measurement = Measurement(spec, reals, self._references[self._set_of(spec)].num_images, fakes, self.device)
        numbers = measurement.whole(seed)
        if spec.kind == 'mem':
            self.pairs[spec.name] = measurement.pairs()
        return self._with_errors(spec, numbers, measurement.part, seed)

    def _with_errors(
        self,
        spec: MetricSpec,
        numbers: dict[str, float],
        part: Callable[[torch.Tensor, int], dict[str, float]],
        seed: int,
    ) -> dict[str, float]:
        """The numbers with their errors, where those are wanted. part: (positions, seed) -> numbers of these images."""
        if not self.replicates:
            return numbers
        errors = half_sample_std(
            lambda chosen, replicate: part(chosen, seed + 1 + replicate),
            spec.num_fakes,
            replicates=self.replicates,
            seed=seed,
        )
        # The Inception score's second number is a spread itself.
        errors.pop(f'{spec.name}_std', None)
        return as_results({key: Estimate(value=value, std=errors.get(key)) for key, value in numbers.items()})

    def _path_length(
        self, spec: MetricSpec, walk: Iterator[tuple[torch.Tensor, torch.Tensor]], seed: int
    ) -> dict[str, float]:
        assert spec.path is not None

        def progress(done: int) -> None:
            if self.progress is not None:
                self.progress(f'pairs of images for {spec.name}', done, spec.num_fakes)

        lengths = step_lengths(walk, self._lpips(), crop=spec.path.crop, num_pairs=spec.num_fakes, progress=progress)
        numbers = {spec.name: path_length(lengths)}
        return self._with_errors(spec, numbers, lambda chosen, _: {spec.name: path_length(lengths[chosen])}, seed)
