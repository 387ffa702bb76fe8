"""`style_mixing.py` and `ganfoundry style-mixing`: the options of mixing styles."""

from __future__ import annotations

from typing import Any

import click

from ganfoundry.command_options import (
    CONTEXT,
    batch_option,
    class_option,
    device_option,
    network_option,
    noise_option,
    outdir_option,
    overwrite_option,
    plugin_option,
    precision_option,
    trunc_option,
)


@click.command(context_settings=CONTEXT)
@network_option
@click.option('--rows', help='Seeds and latents that give most styles.', metavar='0,3,8-15,FILE.npz[:0,2-5]')
@click.option('--cols', help='Seeds and latents that give the styles of --styles.', metavar='0,3,8-15,FILE.npz[:0,2-5]')
@click.option(
    '--styles',
    help='Indices 0-6, coarse, middle, fine, all, none, or blocks 8x8-16x16; list prints what this network has.  '
    '[default: blocks up to 16x16, or half of the ws if that is less]',
    metavar='LIST',
)
@class_option('Class of all seeds, by number or name, a blend cat:0.3+dog:0.7, or a label vector.')
@trunc_option
@noise_option
@click.option('--spectrum', help='Exchange each layer alone: spectrum.png, one row per layer.', is_flag=True)
@click.option('--report', help='Measure how much each layer changes the image: report.json.', is_flag=True)
@outdir_option
@overwrite_option
@batch_option
@precision_option
@plugin_option
@device_option
def main(**options: Any) -> None:
    """Draw images that take some styles from a second image.

    Writes ROW-COL.png for every pair, and grid.png with the sources on its margins. Needs a network with a W space.

    \b
    python style_mixing.py --network=latest --rows=85,100,75 --cols=55,821,1789
    python style_mixing.py --network=latest --styles=list
    python style_mixing.py --network=latest --rows=me.npz --cols=0-7 --styles=coarse
    python style_mixing.py --network=latest --rows=85 --cols=55 --spectrum --report
    """
    from ganfoundry.style_mixing import MixingOptions, run_mixing

    run_mixing(MixingOptions(**options))
