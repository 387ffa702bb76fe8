"""`train.py` and `ganfoundry train`: the options of a training run."""

from __future__ import annotations

import sys
from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.choices import Choice
from ganfoundry.command_options import CONTEXT
from ganfoundry.help_sections import SectionCommand, section

_run = section('Run')
_data = section('Data')
_resume = section('Resume and transfer')
_schedule = section('Schedule')
_networks = section('Networks')
_losses = section('Losses and regularizers')
_augmentation = section('Augmentation')
_metrics = section('Metrics and snapshots')
_machine = section('Machine')
_precision = section('Precision')
_faults = section('Faults and time limits')


@click.command(
    cls=SectionCommand,
    context_settings=CONTEXT,
)
@_run(
    '--outdir',
    help='Folder that holds the run folders.',
    default='runs',
    show_default=True,
    type=user_path,
    metavar='DIR',
)
@_run('--cfg', help='Architecture and recipe; "list" prints all of them.  [default: auto]', metavar='NAME')
@_run('--desc', help="Last part of the run folder's name.  [default: none]", metavar='STR')
@_run(
    '-n',
    '--dry-run',
    help='Print data, networks, schedule, disk, and measured time and memory; then stop.',
    is_flag=True,
)
@_run('-v', '--verbose', help='With -n: print every config field and every module, too.', is_flag=True)
@_run(
    '--plugin',
    help='Python file that registers generators, loss terms, metrics or detectors; may be repeated.',
    multiple=True,
    type=user_path,
    metavar='FILE',
)
@_run(
    '--set',
    'sets',
    help='Set any config field, e.g. --set r1.interval=8; may be repeated.',
    multiple=True,
    metavar='A.B=C',
)
@_data('--data', help='Images: a zip or a folder.  [default: the embedded data set]', type=user_path, metavar='PATH')
@_data('--cond', help='Train on the labels of dataset.json.  [default: 0]', type=bool, metavar='BOOL')
@_data('--subset', help='Number of images to train on, drawn at random.  [default: all]', type=int, metavar='INT')
@_data('--mirror', help='Add x-flipped images.  [default: 0]', type=bool, metavar='BOOL')
@_data(
    '--resolution',
    help='Train at a lower resolution: pixels are averaged.  [default: that of the images]',
    type=int,
    metavar='INT',
)
@_resume(
    '--resume',
    help='Continue a run: RUN_DIR, latest, or auto. Or start from the networks of another run: a snapshot, an official '
    '.pkl, the http(s) address of one, or ffhq256, ffhq512, ffhq1024, celebahq256, lsundog256.  [default: a new run]',
    type=user_path,
    metavar='FROM',
)
@_resume('--freezed', help="Freeze D's first layers (Freeze-D).  [default: 0]", type=int, metavar='INT')
@_schedule('--kimg', help='Length of training, in thousands of real images.  [default: by --cfg]', type=int)
@_schedule('--batch', help='Images per step.  [default: by --cfg]', type=int)
@_schedule(
    '--batch-gpu', help='Images per micro-batch and process; gradients are accumulated.  [default: by --cfg]', type=int
)
@_schedule('--g-batch-gpu', help='The same in the phases of G.  [default: that of --batch-gpu]', type=int)
@_schedule('--d-batch-gpu', help='The same in the phases of D.  [default: that of --batch-gpu]', type=int)
@_schedule('--glr', help="G's learning rate.  [default: by --cfg]", type=float)
@_schedule('--dlr', help="D's learning rate.  [default: by --cfg]", type=float)
@_schedule('--seed', help='Seed of every random draw.  [default: 0]', type=int)
@_networks(
    '--cbase', help='Width of both networks: channels at resolution R are cbase / R.  [default: by --cfg]', type=int
)
@_networks('--cmax', help='Largest number of channels of a layer.  [default: by --cfg]', type=int)
@_networks('--map-depth', help='Number of layers of the mapping network.  [default: by --cfg]', type=int)
@_networks(
    '--mbstd-group', help='Group size of the minibatch standard deviation, in images.  [default: by --cfg]', type=int
)
@_losses('--gamma', help='R1 weight.  [default: by --cfg]', type=float)
@_losses('--lecam', help='Weight of LeCam regularization, e.g. 0.01.  [default: 0]', type=float, metavar='WEIGHT')
@_augmentation(
    '--aug',
    help='Augmentation of the images that D sees; its strength adapts (ada, apa), is --p (fixed), or full (diffaug).  '
    '[default: by --cfg]',
    type=Choice(['noaug', 'ada', 'fixed', 'diffaug', 'apa']),
)
@_augmentation('--p', help='Strength of --aug=fixed, 0 to 1, which requires it.', type=float)
@_augmentation(
    '--target', help='Mean sign of D on real images that --aug=ada and apa hold.  [default: 0.6]', type=float
)
@_augmentation(
    '--augpipe',
    help='Transforms of --aug=ada and fixed.  [default: by --cfg]',
    type=Choice(
        ['blit', 'geom', 'color', 'filter', 'noise', 'cutout', 'bg', 'bgc', 'bgcf', 'bgcfn', 'bgcfnc', 'r3gan']
    ),
)
@_metrics('--metrics', help='Comma list, or none.  [default: one that this machine can measure]', metavar='NAMES')
@_metrics(
    '--metric-data',
    help='Real images that metrics compare with.  [default: those of --data]',
    type=user_path,
    metavar='PATH',
)
@_metrics(
    '--metrics-images',
    help='Largest number of images that a metric generates.  [default: as its name says]',
    type=int,
    metavar='INT',
)
@_metrics(
    '--detector-path',
    help='File of a detector; docs/detectors.md lists them. May be repeated.',
    multiple=True,
    metavar='NAME=FILE',
)
@_metrics('--snap', help='Ticks between snapshots.  [default: 50]', type=int)
@_metrics(
    '--tick', help='Length of a tick, in thousands of images: one status line per tick.  [default: 4]', type=float
)
@_metrics('--keep', help='Number of training states to keep, besides the best.  [default: 2]', type=int)
@_metrics(
    '--log',
    help='Also send the records to wandb, mlflow, trackio, tensorboard or MODULE:CLASS, as log_run.py does, from a '
    'process of its own; may be repeated.',
    multiple=True,
    metavar='NAME',
)
@_machine(
    '--gpus', help='Processes on this machine. Several machines: torchrun, see docs/cluster.md.  [default: 1]', type=int
)
@_machine(
    '--deterministic', help='Compute the same bits with 1, 2 and 4 processes.  [default: 0]', type=bool, metavar='BOOL'
)
@_machine(
    '--max-restarts',
    help='Number of restarts after a lost process.  [default: 0]',
    type=click.IntRange(0),
    metavar='INT',
)
@_machine(
    '--timeout', help='Seconds until a hung run ends.  [default: 600 for several processes]', type=float, metavar='S'
)
@_machine('--device', help='cpu or cuda.  [default: the best available]', metavar='NAME')
@_machine(
    '--workers', help='Number of processes that decode images.  [default: 3; fewer on a CPU with few cores]', type=int
)
@_machine('--nobench', help='Do not let cuDNN benchmark its algorithms.  [default: 0]', type=bool, metavar='BOOL')
@_machine(
    '--allow-tf32',
    help='Round factors of float32 products to TF32 on a GPU.  [default: 1 with bf16 and fp16, 0 with fp32]',
    type=bool,
    metavar='BOOL',
)
@_machine(
    '--graphs',
    help='auto: CUDA graphs of the passes that can be recorded; off: none.  [default: off]',
    type=Choice(['auto', 'off']),
)
@_machine('--nhwc', help='Accepted without effect: the networks choose the layout.', type=bool, metavar='BOOL')
@_precision(
    '--precision',
    help='Arithmetic of the blocks that may be lowered; auto: the best for the device.  [default: auto]',
    type=Choice(['auto', 'fp32', 'bf16', 'fp16']),
)
@_precision('--fp32', help='The same as --precision=fp32.  [default: 0]', type=bool, metavar='BOOL')
@_faults(
    '--for',
    'time_limit',
    help='Save and stop in time, e.g. 2h, 90m, 1d (exit code 75).  [default: no limit]',
    metavar='TIME',
)
@_faults(
    '--pause',
    help='Save and stop at this number of thousands of images (exit code 0); --resume continues, bit for bit. Unlike '
    '--kimg, it changes no schedule.  [default: no pause]',
    type=float,
    metavar='KIMG',
)
@_faults(
    '--on-nan',
    help='Reaction to losses or gradients that are not finite: skip the step, return to a state, '
    'end the run, or replace them (mask).  [default: skip]',
    type=Choice(['skip', 'rollback', 'abort', 'mask']),
)
@_faults(
    '--bad-images',
    help='Reaction to an image that cannot be decoded: end the run, or use the next one.  [default: error]',
    type=Choice(['error', 'skip']),
)
@_faults(
    '--guardian',
    help='Reaction to a collapse or a divergence: none, a warning, or a return to the best state.  [default: warn]',
    type=Choice(['off', 'warn', 'rollback']),
)
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
