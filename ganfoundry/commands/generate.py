"""`generate.py` and `ganfoundry generate`: the options of drawing."""

from __future__ import annotations

from typing import Any

import click

from dnnlib.paths import user_path


@click.command(
    context_settings={
        'help_option_names': ['-h', '--help'],
        'max_content_width': 110,
        'token_normalize_func': lambda token: token.replace('_', '-'),
    }
)
@click.option(
    '--network',
    help='Snapshot or official .pkl (a path or an http(s) address), or a run folder: its best snapshot.',
    required=True,
    type=user_path,
    metavar='FILE|URL|DIR',
)
@click.option('--seeds', help='Seeds, e.g. 0,3,8-15.  [default: as many as the grid holds, from 0]')
@click.option('--trunc', 'truncation_psi', help='Truncation psi.', type=float, default=1, show_default=True)
@click.option('--class', 'class_idx', help='Class label; needed by conditional networks.', type=int)
@click.option(
    '--noise-mode',
    help='Noise of the network: the stored one, drawn by the seed, or none.',
    type=click.Choice(['const', 'random', 'none']),
    default='const',
    show_default=True,
)
@click.option('--recalibrate', help='Measure batch-norm statistics again, at this truncation and class.', is_flag=True)
@click.option(
    '--projected-w', help='Draw the latents of an .npz, w or z, instead of seeds.', type=user_path, metavar='FILE'
)
@click.option('--grid', help='One PNG of COLUMNSxROWS images instead of one PNG per seed.', metavar='CxR')
@click.option('--outdir', help='Folder of the PNGs.', default='out', show_default=True, type=user_path, metavar='DIR')
@click.option('--batch', help='Images in a batch.', type=click.IntRange(1), default=8, show_default=True)
@click.option(
    '--precision',
    help='Arithmetic of the network.',
    type=click.Choice(['auto', 'fp32', 'bf16', 'fp16']),
    default='fp32',
    show_default=True,
)
@click.option(
    '--plugin',
    help='Python file that registers the --cfg of the snapshot.',
    multiple=True,
    type=user_path,
    metavar='FILE',
)
@click.option('--device', help='cpu, cuda or mps.  [default: the best available]')
def main(**options: Any) -> None:
    """Draw images with a network snapshot.

    \b
    python generate.py --network=runs/00000-peeps64-squeeze/network-snapshot-000200.safetensors --seeds=0-15
    python generate.py --network=... --grid=8x8 --trunc=0.7

    Networks of 16-bit color, or of more than four channels, write a .npy file [height, width, channels] per seed, and
    next to it a PNG of 8 bits for viewing, which shows the first three of more than four channels.
    """
    from ganfoundry.drawing import DrawOptions, run_drawing

    run_drawing(DrawOptions(**options))
