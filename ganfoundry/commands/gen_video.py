"""`gen_video.py` and `ganfoundry gen-video`: the options of films."""

from __future__ import annotations

from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.choices import Choice
from ganfoundry.command_options import (
    CONTEXT,
    batch_option,
    class_option,
    device_option,
    latents_option,
    noise_option,
    plugin_option,
    precision_option,
    rotate_option,
    seeds_option,
    translate_option,
    trunc_option,
)


@click.command(context_settings=CONTEXT)
@click.option(
    '--network',
    help='Run folder (its best snapshot), latest, a snapshot or official .pkl, or the http(s) address of one.',
    type=user_path,
    metavar='FILE|URL|DIR',
)
@click.option('--run', help='Time lapse of the sheets of a run, or of latest.', type=user_path, metavar='DIR')
@seeds_option('Keyframes.')
@latents_option
@click.option('--shuffle-seed', help='Shuffle the keyframes.  [default: as given]', type=click.IntRange(0, 2**32 - 1))
@click.option('--grid', help='Cells.', default='1x1', show_default=True, metavar='CxR')
@click.option('--num-keyframes', help='Keyframes of each cell.  [default: keyframes / cells]', type=click.IntRange(1))
@click.option(
    '--w-frames',
    help='Frames between two keyframes, of a sweep, or of a sheet.  [default: 120; with --run, 1]',
    type=click.IntRange(1),
)
@click.option('--fps', help='Frames per second.  [default: 60; with --run, 10]', type=click.IntRange(1, 1000))
@click.option(
    '--crf',
    help='Quality of .mp4 and .webm: smaller is better.',
    type=click.IntRange(0, 51),
    default=17,
    show_default=True,
)
@trunc_option
@class_option('A class by number or name, a blend cat:0.3+dog:0.7, or a label vector.')
@click.option(
    '--interp',
    help='Path between keyframes.',
    type=Choice(['cubic', 'linear']),
    default='cubic',
    show_default=True,
)
@click.option('--space', help='Space of the path.  [default: w if the network has it]', type=Choice(['w', 'z']))
@click.option(
    '--sweep',
    help='Change one setting: trunc:0..1.3, class, class:cat,dog, direction:0:-3..3, noise.',
    metavar='SETTING',
)
@click.option('--there-and-back', help='A sweep returns to its first frame.', is_flag=True)
@click.option('--recalibrate', help='Measure batch-norm statistics again, at this truncation and class.', is_flag=True)
@noise_option
@translate_option
@rotate_option
@click.option('--upscale', help='Repeat each pixel N times.', type=click.IntRange(1, 64), default=1, show_default=True)
@click.option('--background', help='Under alpha: checker or #rrggbb.', default='checker', show_default=True)
@click.option(
    '--output',
    help='.mp4, .webm, .mkv (lossless), .gif, .webp, or a folder of PNGs.',
    required=True,
    type=user_path,
    metavar='FILE|DIR',
)
@click.option('--overwrite', help='Replace the file.', is_flag=True)
@batch_option
@precision_option
@plugin_option
@device_option
def main(**options: Any) -> None:
    """Make a film with a network, or of a run.

    \b
    python gen_video.py --network=latest --seeds=0-31 --grid=4x2 --trunc=0.7 --output=lerp.mp4
    python gen_video.py --network=latest --latents=me.npz --latents=you.npz --output=morph.webm
    python gen_video.py --network=latest --seeds=7 --sweep=trunc:0..1.3 --output=trunc.gif
    python gen_video.py --run=latest --output=training.mp4

    Each cell passes its keyframes and returns to the first, so the film repeats without a seam.
    """
    from ganfoundry.gen_video.content import VideoOptions
    from ganfoundry.gen_video.film import run_video

    run_video(VideoOptions(**options))
