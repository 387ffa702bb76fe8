"""Evaluation of metrics by name, over streams of real and of generated images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import torch

from dnnlib.errors import ConfigError
from metrics.cache import Cache
from metrics.detectors.interface import Detector, Features
from metrics.detectors.lpips import Lpips
from metrics.detectors.table import get_detector, provenance
from metrics.extraction import Extraction, ProgressCallback, Requirements, image_observer, requirements
from metrics.finite import finite_rows
from metrics.limits import check_counts
from metrics.measurement import Classes, ImageSample, MetricInputs, undeclared_classes
from metrics.reference import Reference, SeenReference
from metrics.registry import Metric, numbers_of
from metrics.sheet import Sheet
from metrics.spec import LPIPS, MetricSpec, MoveSpec, parse_metric
from metrics.streams import moves
from metrics.streams.images import ImageStream
from metrics.streams.passes import Pass, Stream, with_float64
from metrics.streams.paths import CHUNK, PathDistance, Paths, pair_observer
from metrics.streams.shares import Observer, in_shares
from metrics.uncertainty import Estimate, as_results, half_sample_std
from torch_utils.distributed import World

Results = dict[str, dict[str, float]]
GeneratedStreams = Callable[[int, int], ImageStream]  # (num_images, seed) -> stream of generated images


class GeneratedClasses(Protocol):
    """Function from the number of generated images and their seed to their classes, int64 [N]; None without classes."""

    def __call__(self, num_images: int, seed: int) -> torch.Tensor | None: ...


class MetricEvaluator:
    """Measures generators against one data set, repeatedly.

    The detectors and their output for the real images stay in memory, so a training run reads its reals once, and with
    a cache not even that. Only data that a call needs in addition are read again.

    Args:
        reals: The images as the run trains on them, x-flips included; None if no metric compares with real images.
        originals: The whole data set, without x-flips and subsets, for `_full` metrics; None if it is the same.
        detector_for: Builds a detector by name.
        distance_for: Builds LPIPS.
        batch_size: Images per call of the detector.
        cache: Store for the detectors' output for the reals; None for none.
        replicates: Number of half samples for the standard error of each number, 0 for no errors.
        device: Device on which features are compared; the CPU in place of an accelerator without float64.
        progress: Called with the source, the images done and the images in total; an exception ends the evaluation.
        world: Processes that share the work: rank 0 evaluates, inside `World.rank0_section`, the others call `serve`.
            Results are bit-identical for any number of processes.
    """

    def __init__(
        self,
        *,
        reals: Reference | None,
        originals: Reference | None = None,
        detector_for: Callable[[str], Detector] = get_detector,
        distance_for: Callable[[], PathDistance] = Lpips,
        batch_size: int = 64,
        cache: Cache | None = None,
        replicates: int = 0,
        device: torch.device | str = 'cpu',
        progress: ProgressCallback | None = None,
        world: World | None = None,
    ) -> None:
        self.world = world or World()
        self.batch_size = batch_size
        self.cache = cache
        self.replicates = replicates
        self.progress = progress
        self.device = with_float64(torch.device(device))
        self.sheets: dict[str, Sheet] = {}  # results of `Metric.sheet` in the last evaluation, by name
        references = {False: reals, True: originals}
        self._references = {full: images for full, images in references.items() if images is not None}
        self._detector_for = detector_for
        self._distance_for = distance_for
        self._detectors: dict[str, Detector] = {}
        self._distance: PathDistance | None = None
        self._seen: dict[tuple[str, bool], SeenReference] = {}

    def evaluate(
        self,
        names: Sequence[str],
        *,
        fakes: GeneratedStreams,
        paths: Paths | None = None,
        classes: GeneratedClasses | None = None,
        seed: int = 0,
    ) -> Results:
        """Measures a generator. All names are checked before the first image is read.

        Args:
            names: Names of metrics.
            fakes: Called once per detector, for the largest number of images; smaller metrics take the first ones.
            paths: Streams of pairs of images, for metrics of paths.
            classes: Classes of the images of `fakes`; None for a generator without labels.
            seed: Non-negative; with the images it decides every number.

        Returns:
            {name: {key: value}}, in the order of the names. With `replicates`, each key is followed by `<key>_std` and
            the 95 % interval, see `metrics.uncertainty`.
        """
        specs = [parse_metric(name) for name in dict.fromkeys(names)]
        for spec in specs:
            self._check(spec, paths)
        for spec in specs:  # raises now for paths that the generator cannot follow
            if paths and spec.path:
                paths(spec.path, seed, spec.num_fakes)
        results: Results = {spec.name: {} for spec in specs}
        for name in dict.fromkeys(spec.detector for spec in specs if spec.path is None):
            group = [spec for spec in specs if spec.detector == name]
            reals = {full: self._real(name, full, group) for full in self._references}
            generated = self._generated(name, group, fakes, seed)
            for spec in group:
                known = None if classes is None else functools.partial(classes, seed=seed)
                inputs = self._inputs(spec, reals.get(self._set_of(spec)), generated, known)
                results[spec.name] = self._measured(spec, inputs, seed)
        for spec in specs:
            if spec.path is not None:
                inputs = MetricInputs(num_items=spec.num_fakes, distances=self._distances(spec, paths, seed))
                results[spec.name] = self._measured(spec, inputs, seed)
        return results

    def observer(self, given: Pass, fakes: GeneratedStreams | None = None, paths: Paths | None = None) -> Observer:
        """Returns the observer of a pass.

        Args:
            given: The pass.
            fakes: As in `evaluate`.
            paths: As in `evaluate`.
        """
        if given.stream in ('paths', 'moves'):
            path = parse_metric(given.network).path
            assert path is not None
            assert paths is not None
            if isinstance(path, MoveSpec):
                stream = paths(path, given.seed, given.num_items)
                return finite_rows(moves.move_observer(stream, path.motion), given.source, given.network)
            pairs = pair_observer(paths(path, given.seed, given.num_items), self._lpips(), crop=path.crop)
            return finite_rows(pairs, given.source, LPIPS)
        if given.stream == 'fakes':
            assert fakes is not None
            images = fakes(given.num_items, given.seed)
        else:
            images = self._references[given.stream == 'originals'].images
        rows = image_observer(images, self._detector(given.network), given.source)
        return finite_rows(rows, given.source, given.network)

    def check(self, name: str, paths: Paths | None = None) -> None:
        """Raises what evaluating the metric would raise before it reads an image.

        The network is built, and downloaded if that is permitted; a second call costs nothing.
        """
        spec = parse_metric(name)
        self._check(spec, paths)
        if spec.path is None:
            self._detector(spec.detector)
        elif not isinstance(spec.path, MoveSpec):
            self._lpips()

    def provenance(self, name: str) -> dict[str, Any]:
        """Returns the fields of a number's record that describe the network and the real images."""
        spec = parse_metric(name)
        if isinstance(spec.path, MoveSpec):
            return {'num_fakes': spec.num_fakes}
        if spec.path is not None:
            network = self._lpips()
            return {'detector': spec.detector, 'digest': network.digest, 'preprocessing': network.preprocessing}
        record: dict[str, Any] = dict(provenance(self._detector(spec.detector)))
        if spec.needs_reals:
            reference = self._references[self._set_of(spec)]
            record |= {'num_reals': spec.num_reals(reference.num_images), 'reals': reference.name}
            record |= {} if self.cache is None else {'reals_sha256': reference.digest}
        return {**record, 'num_fakes': spec.num_fakes}

    def _check(self, spec: MetricSpec, paths: Paths | None) -> None:
        reals = self._references.get(self._set_of(spec))
        check_counts(spec, None if reals is None else reals.num_images, in_halves=self.replicates > 0)
        if spec.path is not None and paths is None:
            raise ConfigError(f'{spec.name} needs a generator to walk through; images alone have no paths')
        if spec.definition.needs == 'probabilities' and not self._detector(spec.detector).num_classes:
            raise ConfigError(f'{spec.name}: the detector {spec.detector} has no classes to take the score over')

    def _detector(self, name: str) -> Detector:
        if name not in self._detectors:
            self._detectors[name] = self._detector_for(name)
        return self._detectors[name]

    def _lpips(self) -> PathDistance:
        self._distance = self._distance or self._distance_for()
        return self._distance

    def _set_of(self, spec: MetricSpec) -> bool:
        """Returns the key of the reference that a metric compares with."""
        return spec.full and True in self._references

    def _real(self, name: str, full: bool, group: list[MetricSpec]) -> Extraction | None:
        """Returns the detector's output for a reference, as far as the metrics of the group need it."""
        reference, required = self._references[full], Requirements()
        for spec in group:
            if spec.needs_reals and self._set_of(spec) == full:
                count = spec.num_reals(reference.num_images)
                required = required.union(requirements(spec.definition.needs, count))
        if not required.num_items:
            return None
        if (name, full) not in self._seen:
            source = f'real images for {name}'
            self._seen[name, full] = SeenReference(reference, self._detector(name), self.cache, source)
        stream: Stream = 'originals' if full else 'reals'
        return self._seen[name, full].extraction(required, lambda missing: self._extract(stream, name, missing))

    def _generated(self, name: str, group: list[MetricSpec], fakes: GeneratedStreams, seed: int) -> Extraction:
        required = Requirements()
        for spec in group:
            one_by_one = self.replicates > 0
            required = required.union(requirements(spec.definition.needs, spec.num_fakes, one_by_one=one_by_one))
        return self._extract('fakes', name, required, fakes, seed)

    def _extract(
        self, stream: Stream, name: str, required: Requirements, fakes: GeneratedStreams | None = None, seed: int = 0
    ) -> Extraction:
        """Returns the output of the detector `name` for a stream."""
        detector = self._detector(name)
        widths = [detector.feature_dim, detector.num_classes]
        extraction = Extraction(detector.feature_dim, required)

        def take(rows: torch.Tensor) -> None:
            pooled, probabilities = rows.split(widths, dim=1)
            extraction.append(Features(pooled, probabilities if detector.num_classes else None))

        size, width = self.batch_size, sum(widths)
        given = Pass(stream=stream, network=name, num_items=required.num_items, size=size, width=width, seed=seed)
        self._pass(given, self.observer(given, fakes), take)
        return extraction

    def _distances(self, spec: MetricSpec, paths: Paths | None, seed: int) -> torch.Tensor:
        """Returns the distances of the pairs of a metric of paths, [P], or of moves, [P, 2], float64 on the CPU."""
        distances: list[torch.Tensor] = []
        moves_it = isinstance(spec.path, MoveSpec)
        given = Pass(
            stream='moves' if moves_it else 'paths',
            network=spec.name,
            num_items=spec.num_fakes,
            size=moves.BATCH if moves_it else CHUNK,
            width=2 if moves_it else 1,
            seed=seed,
        )
        self._pass(given, self.observer(given, paths=paths), lambda rows: distances.append(rows.cpu()))
        found = torch.cat(distances)
        return found if moves_it else found[:, 0]

    def _pass(self, given: Pass, observe: Observer, take: Callable[[torch.Tensor], None]) -> None:
        """Makes a pass on rank 0, which invites the other processes to it."""
        done = 0
        if self.progress is not None:
            self.progress(given.source, 0, given.num_items)

        def taken(rows: torch.Tensor) -> None:
            nonlocal done
            take(rows)
            done += len(rows)
            if self.progress is not None:
                self.progress(given.source, done, given.num_items)

        self.world.give(asdict(given))
        in_shares(self.world, given.parts, observe, given.blank(self.device), taken)

    def _inputs(
        self, spec: MetricSpec, reals: Extraction | None, fakes: Extraction, classes: Classes | None
    ) -> MetricInputs:
        sample = None
        if reals is not None and spec.needs_reals:
            reference = self._references[self._set_of(spec)]
            known = reference.classes if spec.definition.uses_classes else undeclared_classes
            sample = ImageSample(reals, spec.num_reals(reference.num_images), self.device, known)
        known = classes if spec.definition.uses_classes else undeclared_classes
        return MetricInputs(
            num_items=spec.num_fakes,
            fakes=ImageSample(fakes, spec.num_fakes, self.device, known),
            reals=sample,
            neighbors=spec.neighbors,
        )

    def _measured(self, spec: MetricSpec, inputs: MetricInputs, seed: int) -> dict[str, float]:
        """Returns the numbers of a metric under the keys of its record, with their errors if these are requested."""
        metric = spec.definition.make(inputs)
        numbers = numbers_of(spec.name, metric.whole(seed))
        self.sheets.pop(spec.name, None)
        if (sheet := metric.sheet()) is not None:
            self.sheets[spec.name] = sheet
        errors = self._errors(spec, metric, seed) if self.replicates else {}
        estimates = {suffix: Estimate(value=value, std=errors.get(suffix)) for suffix, value in numbers.items()}
        return as_results({f'{spec.name}_{suffix}' if suffix else spec.name: e for suffix, e in estimates.items()})

    def _errors(self, spec: MetricSpec, metric: Metric, seed: int) -> dict[str, float]:
        """Returns the standard error of every number by its suffix, from half samples."""
        errors = half_sample_std(
            lambda chosen, replicate: numbers_of(spec.name, metric.of(chosen, seed + 1 + replicate)),
            spec.num_fakes,
            replicates=self.replicates,
            seed=seed,
        )
        return {suffix: std for suffix, std in errors.items() if suffix not in spec.definition.without_error}


def serve(
    task: dict[str, Any],
    world: World,
    device: torch.device,
    make: Callable[[], tuple[MetricEvaluator, GeneratedStreams, Paths | None]],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Computes this process's share of a pass of rank 0's `evaluate`.

    Args:
        task: The description of the pass that rank 0 sent.
        world: The processes.
        device: As in rank 0's evaluator.
        make: Returns the same evaluator, fakes and paths as on rank 0; its exceptions end the pass in all processes.
        check: Called after each part; its exceptions end the pass in all processes.
    """
    given = Pass(**task)

    def observe(parts: Sequence[range]) -> Iterator[torch.Tensor]:
        evaluator, fakes, paths = make()
        yield from evaluator.observer(given, fakes, paths)(parts)

    in_shares(world, given.parts, observe, given.blank(device), lambda rows: check())
