"""Parameters and multiply-adds of every --cfg's networks at several sizes of images, as a Markdown table.

    python bench/counts.py --cfgs=squeeze,ifgan --resolutions=128,256 --set generator.channel_max=256

Of images with three channels and without labels. Nothing is computed but shapes: `torch_utils/macs.py` says what a
multiply-add is. docs/generators.md has the rows of this table without --set.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.errors import ConfigError
from torch_utils.macs import format_macs
from training.config import RunConfig, apply_overrides
from training.interface import ImageSpec
from training.registry import RECIPES
from training.sizes import network_sizes

RESOLUTIONS = '32,64,128,256'
HEAD = '| --cfg | images | G parameters | G multiply-adds | D parameters | D multiply-adds |\n|---|---|---|---|---|---|'


def cells_of(cfg: RunConfig, spec: ImageSpec) -> tuple[str, ...]:
    """Parameters and multiply-adds of one image, G's and D's. ConfigError where the networks cannot be."""
    G, D = network_sizes(cfg, spec).values()
    return f'{G.parameters:,}', format_macs(G.macs), f'{D.parameters:,}', format_macs(D.macs)


def table(names: Sequence[str], resolutions: Sequence[int], changes: dict[str, str]) -> str:
    """Returns one row per name and resolution, '-' if the architecture does not support it, and the reasons below."""
    lines, reasons = [HEAD], []
    for name in names:
        recipe = RECIPES.get(name)
        for res in resolutions:
            spec = ImageSpec(resolution=res, channels=3, label_dim=0, num_images=1)
            try:
                cells = cells_of(apply_overrides(recipe.make(spec, 1), changes), spec)
            except ConfigError as error:
                cells = ('-',) * 4
                reasons.append(f'{name} at {res}x{res}: {error}')
            lines.append(f'| {" | ".join((name, str(res), *cells))} |')
    return '\n'.join([*lines, *(f'\n{reason}' for reason in reasons)])


@click.command()
@click.option('--cfgs', help='Comma list.  [default: all there are]')
@click.option('--resolutions', help='Comma list of powers of two.', default=RESOLUTIONS, show_default=True)
@click.option('--set', 'sets', help='A config field, as train.py has it.', multiple=True, metavar='A.B=C')
def main(cfgs: str | None, resolutions: str, sets: Sequence[str]) -> None:
    RECIPES.load_all()
    names = cfgs.split(',') if cfgs else RECIPES.names()
    for item in sets:
        if '=' not in item:
            raise ConfigError(f'--set {item}: expected FIELD=VALUE')
    sizes = resolutions.split(',')
    if not all(size.isdecimal() for size in sizes):
        raise ConfigError(f'--resolutions={resolutions}: expected numbers such as {RESOLUTIONS}')
    changes = dict(item.split('=', 1) for item in sets)
    click.echo(table(names, [int(size) for size in sizes], changes))


if __name__ == '__main__':
    run_command(main)
