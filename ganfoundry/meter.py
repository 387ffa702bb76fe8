"""Metrics of generators and of finished images, each number with a record of what it depends on.

Here training and metrics meet; neither package knows the other. Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from dnnlib.errors import DataError
from dnnlib.log import format_time
from dnnlib.provenance import environment
from dnnlib.signals import StopRequested
from metrics import evaluate
from metrics.cache import Cache
from metrics.compare import read_estimates
from metrics.detectors.lpips import Lpips
from metrics.detectors.table import get_detector
from metrics.evaluate import Evaluator, Fakes
from metrics.extraction import Progress
from metrics.kinds.memorization import draw_pairs
from metrics.kinds.ppl import EPSILON, Pairs, Paths
from metrics.reference import ESTIMATORS, Reference
from metrics.spec import PathSpec, parse_metric
from metrics.streams.images import Images
from metrics.uncertainty import Estimate, as_results
from torch_utils.distributed import World
from training.config import RunConfig
from training.data.dataset import DataConfig, ImageDataset
from training.data.stored_image import to_8_bits
from training.run.sampling import generated, generated_paths

DETECTOR_BATCH = 64  # images; more would not make a detector faster
# Pixels that a generator draws at a time, at most 64 images: what a large one needs for them fits into 8 GB.
PIXELS_AT_A_TIME = {'cpu': 2**20, 'cuda': 2**24}

Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What can be measured.

    fakes: (num_images, seed) -> stream of images. paths: streams of pairs of images for PPL; None for finished images.
    record: fields of the provenance that say how the images came to be; asked for when something has been measured.
    """

    fakes: Fakes
    paths: Paths | None
    record: Callable[[], dict[str, Any]]


def of_generator(
    G: torch.nn.Module,
    dataset: ImageDataset,
    *,
    precision: str,
    batch_size: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Subject:
    """Images of a generator with labels drawn from a data set's. check: called before each batch; it may raise."""
    device = next(G.parameters()).device
    batch = batch_size or draw_batch(dataset, device)

    def fakes(num_images: int, seed: int) -> Images:
        return functools.partial(generated, G, dataset, num_images=num_images, seed=seed, batch_size=batch, check=check)

    def paths(path: PathSpec, seed: int, num_pairs: int) -> Pairs:
        walk = {'space': path.space, 'sampling': path.sampling, 'num_pairs': num_pairs, 'seed': seed}
        pairs = functools.partial(generated_paths, G, dataset, epsilon=EPSILON, check=check, **walk)
        pairs(())  # refuses what G cannot do
        return pairs

    def record() -> dict[str, Any]:
        labels = {'labels_sha256': _content(dataset)} if dataset.spec.label_dim else {}
        return {'precision': precision, 'batch': batch, **labels}

    return Subject(fakes=fakes, paths=paths, record=record)


def of_images(images: ImageDataset) -> Subject:
    """Finished images, in their order; a seed changes nothing about them."""
    return Subject(
        fakes=lambda num_images, seed: images.parts,
        paths=None,
        record=lambda: {'images': images.name, 'images_sha256': _content(images)},
    )


def draw_batch(dataset: ImageDataset, device: torch.device) -> int:
    """Images that a generator draws at a time; the noise of each batch has a seed, so this is part of a number."""
    pixels = dataset.spec.height * dataset.spec.width
    return min(max(PIXELS_AT_A_TIME.get(device.type, 2**20) // pixels, 1), 64)


def reference(dataset: ImageDataset) -> Reference:
    """A data set as metrics see it: all its images, x-flips included."""
    return Reference(
        images=dataset.parts,
        num_images=len(dataset),
        content=dataset.content_digest,
        name=dataset.name,
    )


def whole(dataset: ImageDataset) -> ImageDataset:
    """What `_full` metrics compare with: the data set without --subset and x-flips."""
    cfg = dataset.cfg
    if cfg.subset is None and not cfg.mirror:
        return dataset
    return ImageDataset(replace(cfg, subset=None, mirror=False, cond=False))


def reference_data(cfg: RunConfig, dataset: ImageDataset) -> ImageDataset:
    """The real images of a run's metrics: --metric-data, else what it trains on. DataError for another shape."""
    if cfg.metric_data is None:
        return dataset
    reals = ImageDataset(DataConfig(path=cfg.metric_data, resolution=cfg.data.resolution))
    check_shape(reals, dataset.spec, '--metric-data')
    return reals


def check_shape(reals: ImageDataset, drawn: Any, option: str) -> None:
    """Refuses reals of another height, width or channels than `drawn`, an ImageSpec, has."""
    compared = attrgetter('height', 'width', 'channels')
    if compared(reals.spec) != compared(drawn):
        raise DataError(
            f'{option}={reals.cfg.source}: its images are {reals.spec}, the generated ones {drawn}; '
            f'metrics compare images of one shape'
        )


class Meter:
    """Measures one subject after the other against one set of reals, which are looked at once.

    seeds: of latents, labels, noise and subsets; several give every number a mean and its standard error. replicates:
    half samples that the error of a single measurement comes from, 0 for none. cache, progress, world: as in
    `Evaluator`.
    """

    def __init__(
        self,
        reals: ImageDataset,
        device: torch.device,
        *,
        seeds: Sequence[int] = (0,),
        replicates: int = 0,
        cache: Cache | None = None,
        progress: Progress | None = None,
        world: World | None = None,
    ) -> None:
        self._world = world or World()
        self.seeds, self.replicates = tuple(seeds), replicates
        self._sets = {False: reals, True: whole(reals)}
        one = self._sets[True] is reals
        self._references = {False: reference(reals)}
        self._references[True] = self._references[False] if one else reference(self._sets[True])
        self.evaluator = Evaluator(
            reals=self._references[False],
            originals=None if one else self._references[True],
            detector_for=lambda name: get_detector(name, device),
            distance_for=lambda: Lpips(device),
            batch_size=DETECTOR_BATCH,
            cache=cache,
            replicates=replicates,
            device=device,
            progress=progress,
            world=self._world,
        )

    def measure(self, names: Sequence[str], subject: Subject) -> Iterator[tuple[str, Line | Exception]]:
        """(name, line or what it failed with); a failure takes no other metric with it.

        Metrics that share a detector are measured in one pass, and one by one where that fails. A line holds results,
        metric, total_time, total_time_str, num_gpus, seed and provenance, with several seeds also by_seed.
        """
        for group in by_detector(names):
            try:
                yield from self._lines(group, subject).items()
            except StopRequested:
                raise
            except Exception as error:  # whatever it is, the other metrics can do without
                if len(group) == 1:
                    yield group[0], error
                    continue
                for name in group:
                    yield from self.measure([name], subject)

    def check(self, name: str, subject: Subject) -> None:
        """Raises what measuring would raise before any image is looked at; the metric's network is built."""
        self.evaluator.check(name, subject.paths)
        path = parse_metric(name).path
        if path is not None and subject.paths is not None:
            subject.paths(path, 0, 1)

    def provenance(self, name: str, subject: Subject) -> dict[str, Any]:
        """What the number depends on, as far as it is not in the network's own record."""
        spec = parse_metric(name)
        record = self.evaluator.provenance(name)
        if spec.needs_reals:
            record['reals_sha256'] = self._references[spec.full].digest
        record['estimator'] = f'{spec.kind}, {", ".join(f"{what} {v}" for what, v in ESTIMATORS.items())}'
        return {
            **record,
            **subject.record(),
            'seeds': list(self.seeds),
            'replicates': self.replicates,
            **_environment(),
        }

    def closest(self, name: str, subject: Subject) -> np.ndarray:
        """Of a `mem` metric that has just been measured: a sheet uint8 [C, H, W], samples beside the nearest reals."""
        spec, pairs = parse_metric(name), self.evaluator.pairs[name]
        positions = sorted(pairs.samples)
        found = subject.fakes(spec.num_fakes, self.seeds[-1])(range(i, i + 1) for i in positions)
        samples = {i: np.asarray(torch.as_tensor(images)[0].cpu()) for i, images in zip(positions, found, strict=True)}
        reals = self._sets[spec.full]
        sheet = draw_pairs(pairs, samples.__getitem__, lambda i: to_8_bits(reals.image(i)))  # [C, rows, columns]
        return sheet if len(sheet) <= 4 else sheet[:3]  # of more channels than a PNG has, those that the detector sees

    def _lines(self, names: Sequence[str], subject: Subject) -> dict[str, Line]:
        began = time.monotonic()
        runs = {
            seed: self.evaluator.evaluate(names, fakes=subject.fakes, paths=subject.paths, seed=seed)
            for seed in self.seeds
        }
        total_time = time.monotonic() - began
        found = {name: {seed: results[name] for seed, results in runs.items()} for name in names}
        return {name: self._line(name, numbers, total_time, subject) for name, numbers in found.items()}

    def _line(self, name: str, runs: dict[int, dict[str, float]], total_time: float, subject: Subject) -> Line:
        """total_time: seconds of all metrics that shared the pass."""
        results, by_seed = runs[self.seeds[0]], {}
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


def serve(
    task: dict[str, Any],
    world: World,
    device: torch.device,
    job: Callable[[], tuple[Meter, Subject]],
    check: Callable[[], None] = lambda: None,
) -> None:
    """The share of a process but rank 0 in what `Meter.measure` does there. job, check: as in `evaluate.serve`."""

    def make() -> tuple[Evaluator, Fakes, Paths | None]:
        meter, subject = job()
        return meter.evaluator, subject.fakes, subject.paths

    evaluate.serve(task, world, device, make, check)


def by_detector(names: Sequence[str]) -> list[list[str]]:
    """Metrics that look through one network stand together, in the order in which the networks come first."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        spec = parse_metric(name)
        groups.setdefault(name if spec.kind == 'ppl' else spec.detector, []).append(name)
    return list(groups.values())


def estimates_of(line: Line) -> dict[str, Estimate]:
    """The numbers of a line with what is known of their errors."""
    if 'by_seed' in line:
        return read_estimates([{'results': numbers, 'seed': seed} for seed, numbers in line['by_seed'].items()])
    return read_estimates([line])


@functools.cache
def _content(dataset: ImageDataset) -> str:
    """The digest of a data set; it reads every file, so it is asked for once."""
    return dataset.content_digest()


@functools.cache
def _environment() -> dict[str, Any]:
    """Versions and commit; asked for once."""
    known = environment(('torch', 'numpy', 'scipy', 'pillow'))
    return {'versions': known['versions'], 'commit': known['commit']}
