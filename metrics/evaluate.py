"""Metrics by name, over streams of real and of generated images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from dnnlib.errors import ConfigError, DataError
from metrics.cache import Cache
from metrics.detectors.lpips import Lpips
from metrics.detectors.table import Detector, Features, get_detector, provenance
from metrics.extraction import Extraction, Need, Progress, looking
from metrics.kinds.memorization import Pairs
from metrics.kinds.ppl import CHUNK, PathDistance, Paths, path_length, step_distances
from metrics.measurement import Measurement, fake_need, real_need
from metrics.reference import Reference, SeenReference
from metrics.spec import MetricSpec, parse_metric
from metrics.streams.images import Images
from metrics.streams.shares import Look, cut, in_shares
from metrics.uncertainty import Estimate, as_results, half_sample_std
from torch_utils.distributed import World

Results = dict[str, dict[str, float]]
Fakes = Callable[[int, int], Images]  # (num_images, seed) -> their stream
Stream = Literal['reals', 'originals', 'fakes', 'paths']


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One pass over a stream of images, or of pairs of them, as rank 0 describes it to the processes that share it.

    network: the detector's name; for paths the metric's. num_items: of the stream. size: items of a part. width:
    numbers that are seen in an item. seed: of what is generated.
    """

    stream: Stream
    network: str
    num_items: int
    size: int
    width: int
    seed: int = 0

    @property
    def parts(self) -> list[range]:
        """Positions of the items, in parts."""
        return cut(self.num_items, self.size)

    def blank(self, device: torch.device) -> torch.Tensor:
        """What is seen in a part, zeros [size, width], where it is exchanged: on a GPU or on the CPU.

        float64 holds what detectors give in any dtype; only CUDA among the accelerators has it.
        """
        return torch.zeros(self.size, self.width, dtype=torch.float64, device=_with_float64(device))

    @property
    def source(self) -> str:
        """What messages call the stream."""
        kinds = {'fakes': 'generated images', 'paths': 'pairs of images'}
        return f'{kinds.get(self.stream, "real images")} for {self.network}'


class Evaluator:
    """Measures generators against one data set, time after time.

    The detectors and what they saw in the real images stay in memory, so a training run reads its reals once, and with
    a cache not even that. What a call needs beyond is read again.

    reals: the images as the run trains on them, x-flips included. originals: the whole data set, without x-flips and
    subsets, which `_full` metrics compare with; None where that is the same. detector_for: builds a detector by name.
    distance_for: builds LPIPS. batch_size: images that go to the detector at a time. cache: where to keep what was seen
    in the reals; None keeps nothing. replicates: half samples that the error of each number comes from, 0 for none.
    device: where features are compared; the CPU instead of an accelerator that lacks float64. progress: called with
    the source, the images done and the images in all; what it raises ends the evaluation. world: processes that share
    the work: rank 0 evaluates, inside `World.rank0_section`, the others `serve`; numbers have the same bits for any
    number.
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
        world: World | None = None,
    ) -> None:
        self.world = world or World()
        self.batch_size = batch_size
        self.cache = cache
        self.replicates = replicates
        self.progress = progress
        self.device = _with_float64(torch.device(device))
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
        for spec in specs:  # what the generator cannot do it says now
            if paths and spec.path:
                paths(spec.path, seed, spec.num_fakes)
        results: Results = {spec.name: {} for spec in specs}
        for name in dict.fromkeys(spec.detector for spec in specs if spec.kind != 'ppl'):
            group = [spec for spec in specs if spec.detector == name]
            reals = {full: self._real(name, full, group) for full in self._references}
            generated = self._generated(name, group, fakes, seed)
            for spec in group:
                results[spec.name] = self._measured(spec, reals[self._set_of(spec)], generated, seed)
        for spec in specs:
            if spec.kind == 'ppl':
                results[spec.name] = self._path_length(spec, paths, seed)
        return results

    def look(self, given: Pass, fakes: Fakes | None = None, paths: Paths | None = None) -> Look:
        """How the items of a stream are looked at."""
        if given.stream == 'paths':
            path = parse_metric(given.network).path
            assert path is not None
            assert paths is not None
            return step_distances(paths(path, given.seed, given.num_items), self._lpips(), crop=path.crop)
        if given.stream == 'fakes':
            assert fakes is not None
            images = fakes(given.num_items, given.seed)
        else:
            images = self._references[given.stream == 'originals'].images
        return looking(images, self._detector(given.network), given.source)

    def check(self, name: str, paths: Paths | None = None) -> None:
        """Raises what evaluating the metric would raise before it reads an image.

        Its network is built, and downloaded where it may be; a second call costs nothing.
        """
        spec = parse_metric(name)
        self._check(spec, paths)
        if spec.kind == 'ppl':
            self._lpips()
        else:
            self._detector(spec.detector)

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
        stream: Stream = 'originals' if full else 'reals'
        return self._seen[name, full].extraction(need, lambda missing: self._extract(stream, name, missing))

    def _generated(self, name: str, group: list[MetricSpec], fakes: Fakes, seed: int) -> Extraction:
        need = Need()
        for spec in group:
            need = need.union(fake_need(spec, one_by_one=self.replicates > 0))
        return self._extract('fakes', name, need, fakes, seed)

    def _extract(self, stream: Stream, name: str, need: Need, fakes: Fakes | None = None, seed: int = 0) -> Extraction:
        """What the detector `name` sees in a stream."""
        detector = self._detector(name)
        widths = [detector.feature_dim, detector.num_classes]
        extraction = Extraction(detector.feature_dim, need)

        def take(rows: torch.Tensor) -> None:
            pooled, probabilities = rows.split(widths, dim=1)
            extraction.append(Features(pooled, probabilities if detector.num_classes else None))

        given = Pass(stream=stream, network=name, num_items=need.num_items, size=self.batch_size, width=sum(widths),
                     seed=seed)  # fmt: skip
        self._pass(given, self.look(given, fakes), take)
        return extraction

    def _pass(self, given: Pass, look: Look, take: Callable[[torch.Tensor], None]) -> None:
        """A pass of rank 0, which calls the others to it."""
        done = 0

        def taken(rows: torch.Tensor) -> None:
            nonlocal done
            take(rows)
            done += len(rows)
            if self.progress is not None:
                self.progress(given.source, done, given.num_items)

        self.world.give(asdict(given))
        in_shares(self.world, given.parts, look, given.blank(self.device), taken)

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

    def _path_length(self, spec: MetricSpec, paths: Paths | None, seed: int) -> dict[str, float]:
        distances: list[torch.Tensor] = []
        given = Pass(stream='paths', network=spec.name, num_items=spec.num_fakes, size=CHUNK, width=1, seed=seed)
        self._pass(given, self.look(given, paths=paths), lambda rows: distances.append(rows[:, 0].cpu()))
        every = torch.cat(distances)  # [P]
        numbers = {spec.name: path_length(every)}
        return self._with_errors(spec, numbers, lambda chosen, _: {spec.name: path_length(every[chosen])}, seed)


def serve(
    task: dict[str, Any],
    world: World,
    device: torch.device,
    make: Callable[[], tuple[Evaluator, Fakes, Paths | None]],
    check: Callable[[], None] = lambda: None,
) -> None:
    """The share of a process in a pass of rank 0's `evaluate`, which has given out the task.

    make: the same evaluator, fakes and paths as there; what fails in it is told to all. check: called after each part;
    what it raises ends the pass in all processes.
    """
    given = Pass(**task)

    def look(parts: Sequence[range]) -> Iterator[torch.Tensor]:
        evaluator, fakes, paths = make()
        yield from evaluator.look(given, fakes, paths)(parts)

    in_shares(world, given.parts, look, given.blank(device), lambda rows: check())


def _with_float64(device: torch.device) -> torch.device:
    return device if device.type == 'cuda' else torch.device('cpu')
