"""`train.py` and `ganfoundry train`: the options of a training run."""

from __future__ import annotations

import sys
from typing import Any

import click

from dnnlib.paths import user_path


def spelled(name: str) -> str:
    """Returns --map-depth for --map_depth."""
    return name.replace('_', '-')


@click.command(
    context_settings={
        'help_option_names': ['-h', '--help'],
        'max_content_width': 110,
        'token_normalize_func': spelled,
    }
)
# Run
@click.option(
    '--outdir',
    help='Folder that holds the run folders.',
    default='runs',
    show_default=True,
    type=user_path,
    metavar='DIR',
)
@click.option('--cfg', help='Architecture and recipe; "list" prints all of them.  [default: auto]')
@click.option(
    '--data', help='Images: a zip or a folder.  [default: the embedded data set]', type=user_path, metavar='PATH'
)
@click.option(
    '--resume',
    help='Continue a run: RUN_DIR, latest, or auto. Or start from the networks of another run: a snapshot, an official '
    '.pkl, the http(s) address of one, or ffhq256, ffhq512, ffhq1024, celebahq256, lsundog256.',
    type=user_path,
    metavar='FROM',
)
@click.option('--freezed', help="Freeze D's first layers (Freeze-D).", type=int, metavar='INT')
@click.option('-n', '--dry-run', help='Print the plan and stop.', is_flag=True)
@click.option(
    '--plugin',
    help='Python file that registers generators, loss terms, metrics or detectors.',
    multiple=True,
    type=user_path,
    metavar='FILE',
)
@click.option('--set', 'sets', help='Set any config field, e.g. --set r1.interval=8.', multiple=True, metavar='A.B=C')
# Data
@click.option('--cond', help='Train on the labels of dataset.json.', type=bool, metavar='BOOL')
@click.option('--subset', help='Number of images to train on, drawn at random.', type=int, metavar='INT')
@click.option('--mirror', help='Add x-flipped images.', type=bool, metavar='BOOL')
@click.option('--resolution', help='Train at a lower resolution: pixels are averaged.', type=int, metavar='INT')
# Training
@click.option('--gamma', help='R1 weight.', type=float)
@click.option('--kimg', help='Length of training, in thousands of real images.', type=int)
@click.option('--batch', help='Images per step.', type=int)
@click.option('--batch-gpu', help='Images per micro-batch and process; gradients are accumulated.', type=int)
@click.option('--glr', help="G's learning rate.", type=float)
@click.option('--dlr', help="D's learning rate.", type=float)
@click.option('--cbase', help='Width of both networks: channels at resolution R are cbase / R.', type=int)
@click.option('--cmax', help='Largest number of channels of a layer.', type=int)
@click.option('--map-depth', help='Number of layers of the mapping network.', type=int)
@click.option('--mbstd-group', help='Group size of the minibatch standard deviation, in images.', type=int)
@click.option('--seed', help='Seed of every random draw.', type=int)
# Limited data
@click.option(
    '--aug',
    help='Augmentation of the images that D sees; its strength adapts (ada, apa), is --p (fixed), or full (diffaug).',
    type=click.Choice(['noaug', 'ada', 'fixed', 'diffaug', 'apa']),
)
@click.option('--p', help='Strength of --aug=fixed, 0 to 1.', type=float)
@click.option('--target', help='Mean sign of D on real images that --aug=ada and apa hold.  [default: 0.6]', type=float)
@click.option(
    '--augpipe',
    help='Transforms of --aug=ada and fixed.  [default: bgc]',
    type=click.Choice(['blit', 'geom', 'color', 'filter', 'noise', 'cutout', 'bg', 'bgc', 'bgcf', 'bgcfn', 'bgcfnc']),
)
@click.option('--lecam', help='Weight of LeCam regularization, e.g. 0.01.', type=float, metavar='WEIGHT')
# Records
@click.option('--metrics', help='Comma list, or none.  [default: one that this machine can measure]')
@click.option(
    '--metric-data',
    help='Real images that metrics compare with.  [default: those of --data]',
    type=user_path,
    metavar='PATH',
)
@click.option('--metrics-images', help='Largest number of images that a metric generates.', type=int, metavar='INT')
@click.option(
    '--detector-path', help='File of a detector; docs/detectors.md lists them.', multiple=True, metavar='NAME=FILE'
)
@click.option('--snap', help='Ticks between snapshots.', type=int)
@click.option('--tick', help='Length of a tick, in thousands of images: one status line per tick.', type=float)
@click.option('--keep', help='Number of training states to keep, besides the best.', type=int)
@click.option('--desc', help="Last part of the run folder's name.", metavar='STR')
# Machine
@click.option('--gpus', help='Processes on this machine. Several machines: torchrun, see docs/cluster.md.', type=int)
@click.option('--deterministic', help='Compute the same bits with 1, 2 and 4 processes.', type=bool, metavar='BOOL')
@click.option('--max-restarts', help='Number of restarts after a lost process.', type=click.IntRange(0), metavar='INT')
@click.option('--timeout', help='Seconds until hung processes end.  [default: 600]', type=float, metavar='S')
@click.option('--precision', type=click.Choice(['auto', 'fp32', 'bf16', 'fp16']), help='[default: auto]')
@click.option('--fp32', help='The same as --precision=fp32.', type=bool, metavar='BOOL')
@click.option('--nhwc', help='Accepted without effect.', type=bool, metavar='BOOL')
@click.option('--nobench', help='Do not let cuDNN benchmark its algorithms.', type=bool, metavar='BOOL')
@click.option('--allow-tf32', help='Allow TF32 in matrix products and convolutions.', type=bool, metavar='BOOL')
@click.option('--workers', help='Number of processes that decode images.', type=int)
@click.option('--device', help='cpu or cuda.  [default: the best available]')
# Faults
@click.option('--for', 'time_limit', help='Save and stop in time, e.g. 2h, 90m, 1d (exit code 75).', metavar='TIME')
@click.option('--on-nan', type=click.Choice(['skip', 'rollback', 'abort', 'mask']), help='[default: skip]')
@click.option('--bad-images', type=click.Choice(['error', 'skip']), help='[default: error]')
@click.option('--guardian', type=click.Choice(['off', 'warn', 'rollback']), help='[default: warn]')
def main(**options: Any) -> None:
    """Train an image GAN on a folder or a zip of images.

    \b
    python train.py                                  StyleGAN2 on the embedded set
    python train.py --cfg=squeeze --data=ffhq.zip    image squeeze connections on your images
    python train.py --cfg=list --data=ffhq.zip       all architectures, with their size for these images
    python train.py --resume=latest                  continue the newest run, bit for bit
    python train.py --gpus=8 --data=ffhq.zip         on eight GPUs of this machine
    """
    from ganfoundry.options import TrainFlags
    from ganfoundry.trainer import run_training

    if code := run_training(TrainFlags(**options)):
        sys.exit(code)
