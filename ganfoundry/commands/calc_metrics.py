"""`calc_metrics.py` and `ganfoundry calc-metrics`: the options of measuring."""

from __future__ import annotations

import sys
from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.choices import Choice
from ganfoundry.command_options import CONTEXT, plugin_option


@click.command(context_settings=CONTEXT)
@click.argument('others', nargs=-1, type=user_path, metavar='[A [B]]')
@click.option(
    '--network',
    help='Snapshot or official .pkl (a path or an http(s) address), run folder (all its snapshots, newest first), or '
    'a folder or zip of images. Two are compared.',
    type=user_path,
    multiple=True,
    metavar='FILE|URL|DIR',
)
@click.option('--images', help='Finished images to measure: a folder or a zip.', type=user_path, metavar='PATH')
@click.option(
    '--metrics',
    help='Comma list, e.g. fid50k_full,kid_efflite10k_full.  [default: fd_efflite50k_full; on a CPU fd_efflite2k]',
)
@click.option(
    '--data', help='Real images to compare with.  [default: those of training]', type=user_path, metavar='PATH'
)
@click.option(
    '--mirror',
    help='Count x-flipped images as real, except in _full metrics.  [default: as in training]',
    type=bool,
    metavar='BOOL',
)
@click.option('--seed', help='Seed of every random draw.', type=click.IntRange(0), default=0, show_default=True)
@click.option(
    '--seeds',
    help='Number of seeds, from --seed upward: numbers are means with their errors.',
    type=click.IntRange(1),
    default=1,
)
@click.option(
    '--bootstrap',
    help='Number of random halves of the generated images that give the errors.  [default: 0; 20 for A and B]',
    type=click.IntRange(0),
    metavar='N',
)
@click.option('--gpus', help='Processes on this machine. They share the images; the numbers do not change.', type=int)
@click.option('--batch', help='Images in a batch of the network.  [default: by their size]', type=click.IntRange(1))
@click.option(
    '--precision',
    help='Arithmetic of the network.  [default: as in training]',
    type=Choice(['auto', 'fp32', 'bf16', 'fp16']),
)
@click.option('--verbose', help='Print progress to stderr.', type=bool, default=True, metavar='BOOL')
@click.option('--cache/--no-cache', help='Keep the features of real images.  [default: cache]', default=True)
@click.option('--plot/--no-plot', help='Draw metric-NAME.png in the run folder.  [default: plot]', default=True)
@click.option(
    '--records',
    help='File to which the records in JSON are appended, - for stdout.  [default: -; for A and B comparison.jsonl]',
    type=user_path,
    metavar='FILE',
)
@click.option(
    '--detector-path', help='File of a detector; docs/detectors.md lists them.', multiple=True, metavar='NAME=FILE'
)
@plugin_option
@click.option('--device', help='cpu or cuda.  [default: the best available]')
def main(**options: Any) -> None:
    """Measure a network, a run or finished images.

    Prints each metric as a line of JSON. With A and B, says in words which is better and whether they differ by more
    than noise, and appends the lines of JSON to a file. With --seeds, numbers are means with their errors. Results of a
    snapshot in a run folder are appended to metric-NAME.jsonl there, and metric-NAME.png plots them.

    \b
    python calc_metrics.py --network=runs/00000-peeps64-squeeze/network-snapshot-000200.safetensors \\
        --metrics=fd_efflite10k_full,pr_efflite10k3_full
    python calc_metrics.py --network=runs/00000-peeps64-squeeze --metrics=fid50k_full
    python calc_metrics.py --images=samples.zip --data=ffhq.zip --metrics=fid50k_full,kid50k_full
    python calc_metrics.py A.safetensors B.safetensors --metrics=fid50k_full --seeds=3
    """
    from ganfoundry.measuring import MeasureOptions, run_measuring

    if code := run_measuring(MeasureOptions(**options)):
        sys.exit(code)
