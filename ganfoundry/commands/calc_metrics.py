"""Measure networks and finished images: metrics by name, against the data that they were trained on or others."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnnlib.errors import ConfigError, UserError, run_command

if TYPE_CHECKING:  # the real imports stand in the functions that need them: --help must answer at once
    from ganfoundry.targets import MeasureOptions, Session, Target

REPORT_S = 10.0  # seconds between two lines of progress


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
@click.argument('others', nargs=-1, metavar='[A [B]]')
@click.option(
    '--network',
    help='What to measure: a snapshot or an official .pkl (a path or an http(s) address), a run folder (all its '
    'snapshots, newest first), a folder or a zip of images.',
    metavar='FILE|URL|DIR',
)
@click.option('--images', help='Finished images to measure, a folder or a zip.', metavar='PATH')
@click.option('--metrics', help='Comma list, e.g. fid50k_full,kid_efflite10k_full.', required=True)
@click.option('--data', help='Images to measure against.  [default: those that it was trained on]', metavar='PATH')
@click.option(
    '--mirror',
    help='Count x-flipped images as real, but for _full metrics.  [default: as in training]',
    type=bool,
    metavar='BOOL',
)
@click.option('--seed', help='Seed of every random draw.', type=click.IntRange(0), default=0, show_default=True)
@click.option(
    '--seeds',
    help='Measure with so many seeds, from --seed on: means and their errors.',
    type=click.IntRange(1),
    default=1,
)
@click.option(
    '--bootstrap',
    help='Errors from so many halves of the generated images.  [default: 0; 20 to compare A with B]',
    type=click.IntRange(0),
    metavar='N',
)
@click.option('--gpus', help='Processes on this machine, which share the images; numbers stay the same.', type=int)
@click.option('--batch', help='Images drawn at a time.  [default: by their size]', type=click.IntRange(1))
@click.option('--precision', type=click.Choice(['auto', 'fp32', 'bf16', 'fp16']), help='[default: as in training]')
@click.option('--verbose', help='Tell on stderr how far it is.', type=bool, default=True, metavar='BOOL')
@click.option('--cache/--no-cache', help='Keep what detectors see in real images.  [default: cache]', default=True)
@click.option('--plot/--no-plot', help='Draw metric-NAME.png in the run folder.  [default: plot]', default=True)
@click.option(
    '--detector-path', help="A detector's file; docs/detectors.md lists them.", multiple=True, metavar='NAME=FILE'
)
@click.option('--plugin', help='Python file that registers the --cfg of the snapshot.', multiple=True, metavar='FILE')
@click.option('--device', help='cpu or cuda.  [default: what is there]')
def main(others: tuple[str, ...], network: str | None, images: str | None, **options: Any) -> None:
    """Measure a network, a run or finished images; each metric is printed as a line of JSON.

    With A and B, says whether they differ by more than noise. With --seeds, numbers are means with their errors.
    Results of a snapshot in a run folder are appended to metric-NAME.jsonl there, and metric-NAME.png shows them.

    \b
    python calc_metrics.py --network=runs/00000-peeps64-squeeze/network-snapshot-000200.safetensors \\
        --metrics=fd_efflite10k_full,pr_efflite10k3_full
    python calc_metrics.py --network=runs/00000-peeps64-squeeze --metrics=fid50k_full
    python calc_metrics.py --images=samples.zip --data=ffhq.zip --metrics=fid50k_full,kid50k_full
    python calc_metrics.py A.safetensors B.safetensors --metrics=fid50k_full --seeds=3
    """
    from dnnlib.registry import load_file
    from ganfoundry.targets import Session, find_targets
    from metrics.detectors.table import set_path
    from torch_utils.launch import launch, leave

    words = [*([network] if network else []), *others]
    if not 1 <= len(words) + (images is not None) <= 2:
        raise ConfigError('--network must point to a file, a URL or a folder; give one, or two (A B) to compare them')
    for path in options['plugin']:
        load_file(path)
    for option in options['detector_path']:
        set_path(option)
    comparing = len(words) + (images is not None) == 2
    parsed = parse_options(options, comparing)
    found = [find_targets(word) for word in words]
    found += [find_targets(images, images=True)] if images else []
    world = parsed.world
    if (options['gpus'] or 1) > world.size:  # what can be wrong at once has been said
        sys.exit(launch(options['gpus'], 0, sys.argv))
    session = Session(parsed, tell)
    failed = None
    with world.rank0_section('metrics', lambda: False, session.serve) as leads:
        try:
            if leads and comparing:
                measure_two(session, *[targets[0] for targets in found])
            elif leads:
                measure_all(session, found[0], skip=bool(words) and Path(words[0]).is_dir())
        except UserError as error:  # the other processes have done their part
            failed = error
    world.close()
    if failed is not None:
        raise failed
    leave(0, world.rank)


def parse_options(options: dict[str, Any], comparing: bool) -> MeasureOptions:
    """What the flags say of every target."""
    from ganfoundry.processes import join_world, num_processes
    from ganfoundry.targets import MeasureOptions
    from metrics.cache import Cache
    from metrics.spec import parse_metric
    from metrics.uncertainty import REPLICATES
    from torch_utils.devices import pick_device

    device = pick_device(options['device'])
    num_processes({name: value for name, value in options.items() if value is not None}, device)
    names = tuple(name for name in options['metrics'].split(',') if name)
    for name in names:
        parse_metric(name)
    if not names:
        raise ConfigError('--metrics is empty; name at least one, e.g. --metrics=fid50k_full')
    num_seeds, replicates = options['seeds'], options['bootstrap']
    if replicates is None:
        replicates = REPLICATES if comparing and num_seeds == 1 else 0
    if replicates == 1:
        raise ConfigError('--bootstrap=1: one half says nothing of an error; give 2 or more, 20 as a rule')
    if num_seeds > 1 and replicates:
        raise ConfigError('--seeds and --bootstrap both give the errors; choose one of them')
    return MeasureOptions(
        names=names,
        device=device,
        data=options['data'],
        mirror=options['mirror'],
        seeds=tuple(range(options['seed'], options['seed'] + num_seeds)),
        replicates=replicates,
        batch=options['batch'],
        precision=options['precision'],
        cache=Cache(warn=tell) if options['cache'] else None,
        plot=options['plot'],
        progress=Progress() if options['verbose'] else None,
        world=join_world(options),
    )


def measure_all(session: Session, targets: list[Target], *, skip: bool) -> None:
    """The targets one by one. skip: what their run's folder holds already is taken as it is."""
    for target in targets:
        for line in session.measure(session.open(target), skip=skip):
            click.echo(json.dumps(line))


def measure_two(session: Session, *targets: Target) -> None:
    """Two targets against the same reals, and a line for each number that they have in common. Of a run folder it is
    the newest snapshot."""
    from ganfoundry.targets import comparisons

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
            click.echo(json.dumps(line))
    for comparison in comparisons(a, b, (lines[0], lines[1])):
        click.echo(json.dumps(comparison))
        tell(comparison['sentence'])


class Progress:
    """Tells now and then how many images have been looked at."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def __call__(self, source: str, done: int, total: int) -> None:
        if time.monotonic() - self._told_at >= REPORT_S:
            self._told_at = time.monotonic()
            tell(f'{source}: {done} of {total}')


def tell(text: str) -> None:
    """For people: stdout is for the lines of JSON."""
    print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
    run_command(main)
