"""`projector.py` and `ganfoundry projector`: the options of projection."""

from __future__ import annotations

from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.choices import Choice
from ganfoundry.command_options import (
    CONTEXT,
    class_option,
    device_option,
    network_option,
    plugin_option,
    precision_option,
)


@click.command(context_settings=CONTEXT)
@network_option
@click.option(
    '--target',
    help='Image to find, or a folder of images; can be given several times.',
    required=True,
    multiple=True,
    type=user_path,
    metavar='FILE|DIR',
)
@click.option(
    '--outdir',
    help='Folder of the results; with several targets, of a folder for each.',
    default='out',
    show_default=True,
    type=user_path,
    metavar='DIR',
)
@click.option(
    '--space',
    help='Latents to find: one w, w+ (one per layer), z, or pti: w, then tune the network.  [default: w; z without W]',
    type=Choice(['w', 'w+', 'z', 'pti']),
)
@click.option('--num-steps', help='Steps.', type=click.IntRange(1), default=300, show_default=True)
@click.option(
    '--method',
    help='direct: from the nearest sample, without noise; stylegan2: Appendix D of its paper.',
    type=Choice(['direct', 'stylegan2']),
    default='direct',
    show_default=True,
)
@click.option(
    '--init',
    help='Start: nearest (of 256 samples), mean, or a latents file.  [default: nearest; stylegan2: mean]',
    type=user_path,
    metavar='nearest|mean|FILE',
)
@click.option(
    '--mse',
    help='Weight of the mean squared error next to the perceptual distance.  [default: 5; stylegan2: 0]',
    type=click.FloatRange(0),
)
@click.option(
    '--fit',
    help='How a target gets the size of the network: cut, with a border, or with other proportions.',
    type=Choice(['crop', 'pad', 'stretch']),
    default='crop',
    show_default=True,
)
@class_option('A class by number or name, a blend, a label vector, or auto: that of the nearest sample.')
@click.option(
    '--tune-steps', help='Steps of the tuning of pti.', type=click.IntRange(1), default=100, show_default=True
)
@click.option(
    '--max-drift',
    help='Mean perceptual distance by which the tuning of pti may change other images.',
    type=click.FloatRange(0),
    default=0.05,
    show_default=True,
)
@click.option(
    '--save-video',
    help='Write proj.mp4, a frame per step.',
    type=bool,
    default=False,
    show_default=True,
    metavar='BOOL',
)
@click.option('--seed', help='Seed of every random draw.', type=click.IntRange(0), default=0, show_default=True)
@click.option(
    '--batch',
    help='Targets that share the samples of the start; no result depends on it.',
    type=click.IntRange(1),
    default=8,
    show_default=True,
)
@click.option('--overwrite', help='Replace the results of another command.', is_flag=True)
@click.option('--detector-path', help='lpips=FILE: the weights of LPIPS.', multiple=True, metavar='NAME=FILE')
@precision_option
@plugin_option
@device_option
def main(**options: Any) -> None:
    """Find the latents with which a network draws an image.

    \b
    python projector.py --network=runs/00003-ffhq256-squeeze --target=me.png --outdir=out
    python projector.py --network=... --target=photos/ --space=w+ --save-video=1
    python generate.py --network=... --latents=out/projected_w.npz

    Writes target.png, proj.png, projected_w.npz (projected_z.npz) and projection.json; with --space=pti or
    --method=stylegan2 also tuned.safetensors, the changed network, which every other command takes. Ctrl-C writes the
    result so far.
    """
    from ganfoundry.projection.run import ProjectorOptions, run_projector

    run_projector(ProjectorOptions(**options))
