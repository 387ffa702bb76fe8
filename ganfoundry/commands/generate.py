"""`generate.py` and `ganfoundry generate`: the options of drawing."""

from __future__ import annotations

from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.choices import Choice
from ganfoundry.command_options import (
    CONTEXT,
    class_option,
    device_option,
    latents_option,
    network_option,
    outdir_option,
    overwrite_option,
    plugin_option,
    rotate_option,
    seeds_option,
    translate_option,
)
from ganfoundry.latent_options import MAX_SEED


@click.command(context_settings=CONTEXT)
@network_option
@seeds_option('Seeds, e.g. 0,3,8-15.  [default: as many as the grid holds, from 0]')
@latents_option
@click.option(
    '--projected-w', help='Old name of --latents; writes proj00.png, proj01.png, ...', type=user_path, metavar='FILE'
)
@class_option('A class by number or name, a blend cat:0.3+dog:0.7, a label vector, or all: one row per class.')
@click.option('--trunc', 'truncation_psi', help='Truncation psi.  [default: 1]', type=float)
@click.option(
    '--noise-mode',
    help='Noise of the network: the stored one, drawn by the seed, or none.  [default: const]',
    type=Choice(['const', 'random', 'none']),
)
@click.option(
    '--noise-seed',
    help='Seed of random noise of all images.  [default: the seed, or the index among latents]',
    type=click.IntRange(0, MAX_SEED),
)
@translate_option
@rotate_option
@click.option('--recalibrate', help='Measure batch-norm statistics again, at this truncation and class.', is_flag=True)
@click.option('--grid', help='One PNG of COLUMNSxROWS images instead of one PNG per seed.', metavar='CxR')
@click.option(
    '--from',
    'picture',
    help='Draw a PNG of this command again, from its own text chunks.',
    type=user_path,
    metavar='PNG',
)
@outdir_option
@overwrite_option
@click.option('--batch', help='Images in a batch.  [default: 8]', type=click.IntRange(1))
@click.option(
    '--precision',
    help='Arithmetic of the network.  [default: fp32]',
    type=Choice(['auto', 'fp32', 'bf16', 'fp16']),
)
@plugin_option
@device_option
def main(**options: Any) -> None:
    """Draw images with a network snapshot.

    \b
    python generate.py --network=runs/00000-peeps64-squeeze/network-snapshot-000200.safetensors --seeds=0-15
    python generate.py --network=latest --grid=8x8 --trunc=0.7
    python generate.py --network=... --class=all --seeds=0-7
    python generate.py --network=... --latents=me.npz
    python generate.py --network=... --from=out/seed0003.png

    Networks of 16-bit color, or of more than four channels, write a .npy file [height, width, channels] per seed, and
    next to it a PNG of 8 bits for viewing, which shows the first three of more than four channels.
    """
    from ganfoundry.generate import GenerateOptions, run_generate

    run_generate(GenerateOptions(**options))
