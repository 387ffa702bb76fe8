"""The metrics of a training run: which of them can be measured here, and their measurement at each snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from dnnlib.errors import UserError
from measure import Line, Meter, Subject, of_generator, reference_data
from metrics.cache import Cache
from metrics.spec import parse_metric
from training.config import RunConfig
from training.dataset import ImageDataset


class SnapshotEvaluator:
    """The metrics of a training run, as `training.measuring.Evaluator` wants them.

    names: metrics, the first of them decides which snapshot is best. Made by `for_training`.
    """

    def __init__(self, names: tuple[str, ...], meter: Meter, subject_of: Callable[[torch.nn.Module], Subject]) -> None:
        self.names = names
        self._meter = meter
        self._subject_of = subject_of

    def __call__(self, G_ema: torch.nn.Module, names: Sequence[str]) -> Iterable[tuple[str, Line | Exception]]:
        return self._meter.measure(names, self._subject_of(G_ema))

    def lower_is_better(self, name: str) -> bool:
        """True for distances, False for scores."""
        return parse_metric(name).lower_is_better


def for_training(
    cfg: RunConfig,
    dataset: ImageDataset,
    G_ema: torch.nn.Module,
    warn: Callable[[str], None],
    check: Callable[[], None],
) -> SnapshotEvaluator | None:
    """The evaluator of a run, with the metrics that can be measured here; None where there are none.

    What cannot, for want of a network file or by its definition, is told through `warn` in a sentence, once. check:
    called between batches; what it raises ends the evaluation.
    """
    if not cfg.metrics:
        return None
    device = next(G_ema.parameters()).device
    meter = Meter(
        reference_data(cfg, dataset),
        device,
        seeds=(cfg.seed,),
        cache=Cache(warn=warn),
        progress=lambda *state: check(),
    )

    def subject_of(G: torch.nn.Module) -> Subject:
        return of_generator(G, dataset, precision=cfg.precision, check=check)

    names = possible(cfg.metrics, meter, subject_of(G_ema), warn)
    return SnapshotEvaluator(names, meter, subject_of) if names else None


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
