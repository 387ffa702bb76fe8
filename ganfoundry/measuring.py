"""Measuring networks and finished images: from the options of calc_metrics.py to lines of JSON."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from dnnlib.errors import ConfigError, UserError
from dnnlib.log import Log
from dnnlib.registry import load_file
from ganfoundry.metric_records import COMPARISON, STDOUT, MetricRecords
from ganfoundry.processes import command_line, join_world, num_processes
from ganfoundry.progress import Progress
from ganfoundry.session import MeasureSettings, Session, comparisons
from ganfoundry.targets import Target, find_target, find_targets
from metrics.cache import Cache
from metrics.detectors.table import set_paths
from metrics.spec import default_metrics, metric_list
from metrics.uncertainty import REPLICATES
from torch_utils.devices import pick_device, prepare
from torch_utils.launch import launch, leave


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureOptions:
    """The options of calc_metrics.py under their names in Python; `ganfoundry/commands/calc_metrics.py` describes each.

    None: not given, so that the value of the training run holds.
    """

    others: tuple[str, ...] = ()  # [A [B]]
    network: tuple[str, ...] = ()
    images: str | None = None
    metrics: str | None = None
    data: str | None = None
    mirror: bool | None = None
    seed: int = 0
    seeds: int = 1
    bootstrap: int | None = None
    gpus: int | None = None
    batch: int | None = None
    precision: str | None = None
    verbose: bool = True
    cache: bool = True
    plot: bool = True
    records: str | None = None
    detector_path: tuple[str, ...] = ()
    plugin: tuple[str, ...] = ()
    device: str | None = None

    @property
    def words(self) -> list[str]:
        """Paths and addresses of networks, and of images that are given in the same way."""
        return [*self.network, *self.others]

    @property
    def num_subjects(self) -> int:
        """Number of networks and sets of images to measure; two are compared."""
        return len(self.words) + (self.images is not None)


def run_measuring(options: MeasureOptions) -> int:
    """Carries out a command line of calc_metrics.py and returns its exit code."""
    words = options.words
    if not 1 <= options.num_subjects <= 2:
        raise ConfigError('--network must point to a file, a URL or a folder; give one, or two (A B) to compare them')
    for path in options.plugin:
        load_file(path)
    set_paths(options.detector_path)
    log = Log(stream=sys.stderr)  # stdout is for the lines of JSON
    resolved = resolve(options, log)
    two = options.num_subjects == 2
    records = MetricRecords(options.records or (COMPARISON if two else STDOUT))
    found = [[find_target(word)] if two else find_targets(word) for word in words]
    if options.images is not None:
        found.append(find_targets(options.images, images=True))
    if two and len({target.path.resolve() for targets in found for target in targets}) == 1:
        raise ConfigError(f'{found[0][0].path}: was named twice; give two different networks or sets of images')
    world = resolved.world
    if options.gpus is not None and options.gpus > world.size:  # everything that can be checked has been
        return launch(options.gpus, 0, command_line())
    session = Session(resolved, log.line)
    failed = None
    with world.rank0_section('metrics', lambda: False, session.serve) as leads:
        try:
            if leads and two:
                measure_two(session, records, log, *[targets[0] for targets in found])
            elif leads:
                measure_all(session, records, found[0], skip=bool(words) and Path(words[0]) != found[0][0].path)
        except UserError as error:  # the other processes have done their part
            failed = error
    world.close()
    if failed is not None:
        raise failed
    return leave(0, world.rank)


def resolve(options: MeasureOptions, log: Log) -> MeasureSettings:
    """Checks the options, and returns them with the device, the processes and the cache that they name."""
    device = pick_device(options.device)
    prepare(device)
    num_processes(options.gpus, device)
    names = default_metrics(device.type) if options.metrics is None else metric_list(options.metrics)
    if not names:
        raise ConfigError('--metrics is empty; name at least one, e.g. --metrics=fid50k_full')
    replicates = options.bootstrap
    if replicates is None:
        replicates = REPLICATES if options.num_subjects == 2 and options.seeds == 1 else 0
    if replicates == 1:
        raise ConfigError('--bootstrap=1: one half gives no error; give 2 or more, usually 20')
    if options.seeds > 1 and replicates:
        raise ConfigError('--seeds and --bootstrap both give the errors; choose one of them')
    return MeasureSettings(
        names=names,
        device=device,
        data=options.data,
        mirror=options.mirror,
        seeds=tuple(range(options.seed, options.seed + options.seeds)),
        replicates=replicates,
        batch=options.batch,
        precision=options.precision,
        cache=Cache(warn=log.line) if options.cache else None,
        plot=options.plot,
        progress=Progress(log) if options.verbose else None,
        world=join_world(options.device),
    )


def measure_all(session: Session, records: MetricRecords, targets: list[Target], *, skip: bool) -> None:
    """Measures targets one by one and records their lines.

    Args:
        session: The measurements of this command.
        records: Receives the lines.
        targets: Networks or images.
        skip: Record the lines that the run folder holds already instead of measuring again.
    """
    for target in targets:
        for line in session.measure(session.open(target), skip=skip):
            records.write(line)


def measure_two(session: Session, records: MetricRecords, log: Log, *targets: Target) -> None:
    """Measures two targets against the same reals, and prints in words how each number that both have compares.

    Args:
        session: The measurements of this command.
        records: Receives the lines of both and the comparisons.
        log: Receives the sentences of the comparisons if the records are on stdout.
        *targets: The two targets.
    """
    a, b = map(session.open, targets)
    if a.meter is not b.meter:
        raise ConfigError('the two were trained on different images; say with --data which ones both are compared with')
    if a.names != b.names:
        raise ConfigError(
            f'{a.target.path} gives {", ".join(a.names)}, {b.target.path} {", ".join(b.names)}: ask for metrics of as '
            f'many images as both have'
        )
    lines = []
    for job in (a, b):
        lines.append(list(session.measure(job)))
        for line in lines[-1]:
            records.write(line)
    for comparison in comparisons(a, b, (lines[0], lines[1])):
        records.write(comparison)
        if records.on_stdout:
            log.line(comparison['sentence'])
        else:
            print(comparison['sentence'], flush=True)
    if not records.on_stdout:
        log.line(f'{records.where}: the records of both')
