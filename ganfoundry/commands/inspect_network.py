"""`inspect_network.py` and `ganfoundry inspect-network`: the options of looking inside networks."""

from __future__ import annotations

from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.choices import Choice
from ganfoundry.command_options import (
    CONTEXT,
    class_option,
    device_option,
    noise_option,
    outdir_option,
    overwrite_option,
    plugin_option,
    seeds_option,
    trunc_option,
)


@click.command(context_settings=CONTEXT)
@click.option(
    '--network',
    help='Run folder (its best snapshot), latest, a snapshot or official .pkl, or the http(s) address of one; repeat '
    'it for losses, features and flops.',
    required=True,
    multiple=True,
    type=user_path,
    metavar='FILE|URL|DIR',
)
@click.option(
    '--what',
    help='blocks: what each ToRGB adds (StyleGAN2, squeeze). losses: G and D over runs. features: first principal '
    "component of D's layers on real images. gates: IF-GAN. kernels: GConv. involution: GIU, IGAN. enlarge: bicubic "
    'x4. flops: operations of G and D.',
    required=True,
    type=Choice(['blocks', 'losses', 'features', 'gates', 'kernels', 'involution', 'enlarge', 'flops']),
)
@seeds_option('Seeds of the images.  [default: 0-7]')
@class_option('Class of the images, by number or name.')
@trunc_option
@noise_option
@click.option(
    '--data', help='Real images for features.  [default: those of the training]', type=user_path, metavar='DIR|ZIP'
)
@click.option('--images', help='Number of real images for features.  [default: 8]', type=click.IntRange(1, 256))
@click.option(
    '--rule',
    help='flops: macs, multiply-adds; thop, as the GIU paper prints them.  [default: macs]',
    type=Choice(['macs', 'thop']),
)
@outdir_option
@overwrite_option
@plugin_option
@device_option
def main(**options: Any) -> None:
    """Look inside networks, with the pictures of the papers.

    Writes WHAT.png and WHAT.json to --outdir, and prints what is found.

    \b
    python inspect_network.py --network=latest --what=blocks --seeds=0-3
    python inspect_network.py --network=runs/00000-a --network=runs/00001-b --what=features
    python inspect_network.py --network=latest --what=flops --rule=thop
    """
    from ganfoundry.inspect_network import InspectOptions, run_inspection

    run_inspection(InspectOptions(**options))
