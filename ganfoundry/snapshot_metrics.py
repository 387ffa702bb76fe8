"""The metrics of a training run: which of them can be measured here, and their measurement at each snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from dnnlib.errors import UserError
from ganfoundry.meter import Line, Meter, Subject, of_generator, reference_data, serve
from metrics.cache import Cache
from metrics.spec import parse_metric
from torch_utils.distributed import World
from training.config import RunConfig
from training.data.dataset import ImageDataset


class SnapshotEvaluator:
    """The metrics of a training run, as `training.run.measuring.Evaluator` wants them.

    names: metrics, the first of them decides which snapshot is best. Made by `for_training`.
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

    def __call__(self, G_ema: torch.nn.Module, names: Sequence[str]) -> Iterable[tuple[str, Line | Exception]]:
        return self._meter.measure(names, self._subject_of(G_ema))

    def serve(self, G_ema: torch.nn.Module, task: dict[str, Any]) -> None:
        """The share of this process in what rank 0 measures."""
        device = next(G_ema.parameters()).device
        serve(task, self._world, device, lambda: (self._meter, self._subject_of(G_ema)), self._check)

    def lower_is_better(self, name: str) -> bool:
        """True for distances, False for scores."""
        return parse_metric(name).lower_is_better


def for_training(
    cfg: RunConfig,
    dataset: ImageDataset,
    G_ema: torch.nn.Module,
    warn: Callable[[str], None],
    check: Callable[[], None],
    world: World | None = None,
) -> SnapshotEvaluator | None:
    """The evaluator of a run, with the metrics that all its processes can measure; None where there are none.

    What cannot be measured, for want of a network file or by its definition, is told through `warn` in a sentence,
    once. check: called between batches; what it raises ends the evaluation.
    """
    if not cfg.metrics:
        return None
    world, device = world or World(), next(G_ema.parameters()).device
    meter = Meter(
        reference_data(cfg, dataset),
        device,
        seeds=(cfg.seed,),
        cache=Cache(warn=warn),
        progress=lambda *state: check(),
        world=world,
    )

    def subject_of(G: torch.nn.Module) -> Subject:
        return of_generator(G, dataset, precision=cfg.precision, check=check)

    def here(names: Sequence[str]) -> list[str]:
        return list(possible(names, meter, subject_of(G_ema), warn))

    names = world.shared(lambda: here(cfg.metrics))  # rank 0 first: what it downloads is there for those beside it
    if not world.leads:
        names = here(names)
    names = everywhere(cfg.metrics, names, world, warn)
    return SnapshotEvaluator(names, meter, subject_of, world, check) if names else None


def everywhere(names: Sequence[str], here: Sequence[str], world: World, warn: Callable[[str], None]) -> tuple[str, ...]:
    """Those of the names that every process can measure; here: those that this one can."""
    missing = torch.tensor([name not in here for name in names])
    every = world.gather_on_host(missing, 'the metrics')  # bool [W, names]
    for k, name in enumerate(names):
        ranks = ', '.join(str(rank) for rank in every[:, k].nonzero()[:, 0].tolist())
        if world.leads and every[:, k].any() and name in here:
            warn(f'not measured: {name}: rank {ranks} cannot, as it says itself')
    return tuple(name for name, missed in zip(names, every.any(dim=0).tolist(), strict=True) if not missed)


def possible(names: Sequence[str], meter: Meter, subject: Subject, warn: Callable[[str], None]) -> tuple[str, ...]:
    """The metrics that can be measured; of the others `warn` is told why, in a sentence a reason."""
    kept: list[str] = []
    reasons: dict[str, list[str]] = {}
    for name in names:
        try:
            meter.check(name, subject)
            kept.append(name)
        except UserError as error:
            reasons.setdefault(str(error), []).append(name)
        except Exception as error:  # a detector that does not load is no reason not to train
            reasons.setdefault(f'{type(error).__name__}: {error}', []).append(name)
    for reason, missing in reasons.items():
        warn(f'not measured: {", ".join(missing)}: {reason}')
    return tuple(kept)
