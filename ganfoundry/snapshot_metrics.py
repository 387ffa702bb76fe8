"""Metrics of a training run: the choice of those that can be measured, and their measurement at each snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from dnnlib.errors import UserError
from dnnlib.log import Log
from ganfoundry.meter import Meter, MetricLine, serve_meter
from ganfoundry.progress import Progress
from ganfoundry.reals import reference_data
from ganfoundry.subjects import Subject, of_generator
from metrics.cache import Cache
from metrics.spec import parse_metric
from torch_utils.distributed import World
from training.config import RunConfig
from training.data.dataset import ImageDataset


class SnapshotEvaluator:
    """Metrics of a training run, with the interface of `training.run.measuring.Evaluator`; made by `for_training`.

    Args:
        names: The metrics; the first of them decides which snapshot is the best.
        meter: Measures them.
        subject_of: Makes a subject of a generator.
        world: The processes of the run.
        check: Called between batches; its exceptions end the evaluation.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        meter: Meter,
        subject_of: Callable[[torch.nn.Module], Subject],
        world: World,
        check: Callable[[], None],
    ) -> None:
        self.names = names
        self._meter = meter
        self._subject_of = subject_of
        self._world, self._check = world, check

    def __call__(self, G_ema: torch.nn.Module, names: Sequence[str]) -> Iterable[tuple[str, MetricLine | Exception]]:
        """Yields (name, line or exception) for the metrics `names` of a generator."""
        return self._meter.measure(names, self._subject_of(G_ema))

    def serve(self, G_ema: torch.nn.Module, task: dict[str, Any]) -> None:
        """Computes this process's share of a pass of rank 0."""
        device = next(G_ema.parameters()).device
        serve_meter(task, self._world, device, lambda: (self._meter, self._subject_of(G_ema)), self._check)

    def lower_is_better(self, name: str) -> bool:
        """Returns whether a lower value of a metric is better."""
        return parse_metric(name).lower_is_better


def for_training(
    cfg: RunConfig,
    dataset: ImageDataset,
    G_ema: torch.nn.Module,
    log: Log,
    check: Callable[[], None],
    world: World | None = None,
) -> SnapshotEvaluator | None:
    """Makes the evaluator of a run, with the metrics that all its processes can measure.

    Args:
        cfg: The run.
        dataset: The images that it trains on.
        G_ema: The generator that will be measured.
        log: Receives one warning per reason for which metrics cannot be measured, such as a missing network file, and
            the progress of the first measurement.
        check: Called between batches; its exceptions end the evaluation.
        world: The processes of the run.

    Returns:
        The evaluator, None if no metric can be measured.
    """
    if not cfg.metrics:
        return None
    world, device = world or World(), next(G_ema.parameters()).device
    progress = Progress(log, first_only=True)

    def watched(source: str, done: int, total: int) -> None:
        progress(source, done, total)
        check()

    meter = Meter(
        reference_data(cfg, dataset, log.warn),
        device,
        seeds=(cfg.seed,),
        cache=Cache(warn=log.warn),
        progress=watched,
        world=world,
    )

    def subject_of(G: torch.nn.Module) -> Subject:
        return of_generator(G, dataset.spec, dataset, precision=cfg.precision, check=check)

    def here(names: Sequence[str]) -> list[str]:
        return list(possible(names, meter, subject_of(G_ema), log.warn))

    names = world.shared(lambda: here(cfg.metrics))  # rank 0 first: the others find its downloads
    if not world.leads:
        names = here(names)
    names = everywhere(cfg.metrics, names, world, log.warn)
    return SnapshotEvaluator(names, meter, subject_of, world, check) if names else None


def everywhere(names: Sequence[str], here: Sequence[str], world: World, warn: Callable[[str], None]) -> tuple[str, ...]:
    """Returns the metrics that every process can measure.

    Args:
        names: All metrics of the run.
        here: Those that this process can measure.
        world: The processes of the run.
        warn: Receives a sentence for each metric that only other processes cannot measure.
    """
    missing = torch.tensor([name not in here for name in names])
    every = world.gather_on_host(missing, 'the metrics')  # bool [W, names]
    for k, name in enumerate(names):
        ranks = ', '.join(str(rank) for rank in every[:, k].nonzero()[:, 0].tolist())
        if world.leads and every[:, k].any() and name in here:
            warn(f'not measured: {name}: rank {ranks} cannot; its own message says why')
    return tuple(name for name, missed in zip(names, every.any(dim=0).tolist(), strict=True) if not missed)


def possible(names: Sequence[str], meter: Meter, subject: Subject, warn: Callable[[str], None]) -> tuple[str, ...]:
    """Returns the metrics that can be measured.

    Args:
        names: Metrics.
        meter: Measures them.
        subject: Has the generator.
        warn: Receives one sentence per reason for which metrics cannot be measured.
    """
    kept: list[str] = []
    reasons: dict[str, list[str]] = {}
    for name in names:
        try:
            meter.check(name, subject)
            kept.append(name)
        except UserError as error:
            reasons.setdefault(str(error), []).append(name)
        except Exception as error:  # training continues without a detector that does not load
            reasons.setdefault(f'{type(error).__name__}: {error}', []).append(name)
    for reason, missing in reasons.items():
        warn(f'not measured: {", ".join(missing)}: {reason}')
    return tuple(kept)
