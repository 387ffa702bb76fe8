"""Facts about a network that its record and the run folder next to it hold: data set, cost, and metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib.errors import CheckpointError, ConfigError
from ganfoundry.network import Network
from metrics.spec import parse_metric
from metrics.uncertainty import ERRORS
from training.run.lines import check_stats, usable
from training.run.run_folder import RunFolder

EMBEDDED = 'peeps64'  # name of the embedded data set
EMBEDDED_LICENSE = 'CC0 1.0'
OFFICIAL = 'official'  # entry of the record of a converted network, of whose training little is known


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One number that was measured on a network.

    Attributes:
        metric: Name of the metric, such as 'pr50k3_full'.
        key: Name of the number, such as 'pr50k3_full_precision'.
        value: The number.
        std: Its standard error; None if it was not estimated.
        provenance: What it depends on, as the record of the measurement has it.
    """

    metric: str
    key: str
    value: float
    std: float | None
    provenance: dict[str, Any]

    @property
    def detector(self) -> str:
        """Name of the detector; empty for metrics without one."""
        return str(self.provenance.get('detector') or '')

    @property
    def is_memorization(self) -> bool:
        """Whether it is a share of images that are not copies of training images."""
        try:
            return parse_metric(self.metric).kind == 'mem'
        except ConfigError:  # its metric belongs to a plug-in that is not loaded
            return False

    def __str__(self) -> str:
        return f'{self.value:.4g}' if self.std is None else f'{self.value:.4g} ± {self.std:.2g}'


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Facts for the card of a network; None for what is not recorded.

    Attributes:
        data_name: Name of the data set.
        data_digest: Digest of its listing.
        data_license: Its license.
        hours: Hours of training until this snapshot.
        measured: Numbers that were measured on this snapshot, by the names of the metrics.
    """

    data_name: str | None
    data_digest: str | None
    data_license: str | None
    hours: float | None
    measured: tuple[Measured, ...]


def facts_of(network: Network) -> Facts:
    """Returns the facts about a network. Those of the run are read only if the network is one of its snapshots."""
    path, data = network.config.data.path, network.snapshot.record.get('data')
    is_embedded = path is None and OFFICIAL not in network.snapshot.record
    listing = data.get('listing') if isinstance(data, dict) else None
    run = run_of(network)
    return Facts(
        data_name=EMBEDDED if is_embedded else Path(path).stem if path else None,
        data_digest=listing if isinstance(listing, str) else None,
        data_license=EMBEDDED_LICENSE if is_embedded else None,
        hours=None if run is None else _hours(run, network.snapshot.nimg),
        measured=() if run is None else tuple(_measured(run, network)),
    )


def run_of(network: Network) -> RunFolder | None:
    """Returns the run folder that a network lies in, if it is a snapshot of that run, else None."""
    run = RunFolder(network.path.parent)
    if network.path not in run.snapshots():
        return None
    try:
        mine, recorded = run.run_id(), network.snapshot.record.get('run_id')
    except CheckpointError:  # a folder without its config.json, or with a damaged one
        return None
    return run if mine == recorded else None


def _hours(run: RunFolder, nimg: int) -> float | None:
    """Returns the hours of training until a number of images, None if they are not recorded."""
    lines = [line for line in usable(run.stats, check_stats) if line['nimg'] == nimg and 'Timing/total_hours' in line]
    hours = float(lines[-1]['Timing/total_hours']['mean']) if lines else math.nan
    return hours if math.isfinite(hours) else None


def _measured(run: RunFolder, network: Network) -> Iterator[Measured]:
    """Yields the numbers of a snapshot, the last measurement of each metric."""
    for path in sorted(run.path.glob('metric-*.jsonl')):
        metric = path.stem.removeprefix('metric-')
        lines = [
            line
            for line in run.results(metric)
            if line['nimg'] == network.snapshot.nimg and line.get('snapshot', network.path.name) == network.path.name
        ]
        results = lines[-1]['results'] if lines else {}
        for key, value in results.items():
            if not key.endswith(ERRORS) and math.isfinite(value):
                std = results.get(f'{key}{ERRORS[0]}')
                yield Measured(metric=metric, key=key, value=value, std=std, provenance=lines[-1].get('provenance', {}))
