"""Quality of projections: LPIPS and PSNR per space, next to the method of StyleGAN2's paper.

    python bench/projector.py --out=bench/results/projector.md
    python bench/projector.py --without-w=runs/00000-sngan --out=bench/results/projector.md

Targets are images of the network itself, from seeds that tuned nothing, and drawings of the embedded data set. Each row
has the median and the range over the targets. Needs the weights of LPIPS. A number of steps is the length of the whole
schedule, not a position in a longer one.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

import ganfoundry as gf
from dnnlib.command import run_command
from dnnlib.files import write_bytes
from ganfoundry.projection.perceptual import LpipsDistance
from ganfoundry.projection.project import Projection, project_batch
from ganfoundry.projection.settings import Settings
from ganfoundry.projection.targets import Target, fit_target
from training.data.dataset import EMBEDDED

NETWORK = Path(__file__).resolve().parent.parent / 'examples' / 'networks' / 'peeps32.safetensors'
SEEDS = range(3000, 3008)
DRAWINGS = (300, 1300, 2300, 3300)  # positions in the embedded data set

# Title, settings.
GENERATED = (
    ('w, 100 steps', Settings(space='w', num_steps=100)),
    ('w+, 100 steps', Settings(space='w+', num_steps=100)),
    ('w+, 300 steps', Settings(space='w+', num_steps=300)),
    ('w, 300 steps', Settings(space='w', num_steps=300)),
    ('w, 300 steps, `--method=stylegan2`', Settings(space='w', num_steps=300, method='stylegan2')),
)
REAL = (
    ('w, 150 steps', Settings(space='w', num_steps=150)),
    ('w+, 150 steps', Settings(space='w+', num_steps=150)),
    ('pti: w, 150 steps, then 100 of tuning', Settings(space='pti', num_steps=150)),
)
WITHOUT_W = (('z, 300 steps, network without W', Settings(space='z', num_steps=300)),)
HEADER = ('targets', 'space', 'LPIPS', 'PSNR (dB)', 'standard deviations from the mean', 'drift')


def generated_targets(network: gf.Network) -> list[Target]:
    """Returns images of the network's own seeds."""
    images = network.images(SEEDS)  # [N, H, W, C]
    return [
        fit_target(image, str(seed), str(seed), network.spec, 'crop') for seed, image in zip(SEEDS, images, strict=True)
    ]


def drawings(network: gf.Network) -> list[Target]:
    """Returns drawings of the embedded data set."""
    with zipfile.ZipFile(EMBEDDED) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith('.png'))
        files = [(names[i], io.BytesIO(archive.read(names[i])).getvalue()) for i in DRAWINGS]
    return [fit_target(data, name, name, network.spec, 'crop') for name, data in files]


def spread(values: Sequence[float], digits: int) -> str:
    """Returns 'median (least to largest)'."""
    middle, low, high = (f'{v:.{digits}f}' for v in (statistics.median(values), min(values), max(values)))
    return f'{middle} ({low} to {high})'


def row_of(kind: str, title: str, found: Sequence[Projection]) -> tuple[str, ...]:
    """Returns a row of the table."""
    drifts = [one.drift for one in found if one.drift is not None]
    return (
        f'{len(found)} {kind}',
        title,
        spread([one.perceptual for one in found], 4),
        spread([one.psnr for one in found], 1),
        spread([one.from_mean for one in found], 2),
        spread(drifts, 3) if drifts else '',
    )


def rows(network: gf.Network, without_w: gf.Network | None) -> Iterator[tuple[str, ...]]:
    """Yields the rows of the table, each when it is measured."""
    groups = [(network, 'generated', generated_targets(network), GENERATED), (network, 'real', drawings(network), REAL)]
    if without_w is not None:
        groups.append((without_w, 'generated', generated_targets(without_w), WITHOUT_W))
    for drawn_by, kind, targets, cases in groups:
        perceptual = LpipsDistance(drawn_by.device)
        for title, settings in cases:
            c = torch.zeros([1, 0])
            yield row_of(kind, title, list(project_batch(drawn_by.module, targets, c, settings, perceptual)))


@click.command()
@click.option('--network', help='Unconditional network with a W space.', default=str(NETWORK))
@click.option('--without-w', help='Unconditional network without a W space.')
@click.option('--out', help='File of the table, written after every row.', type=Path)
def main(network: str, without_w: str | None, out: Path | None) -> None:
    """Measures projections and prints a table."""
    torch.set_num_threads(1)
    began, lines = time.monotonic(), [' | '.join(HEADER), ' | '.join('---' for _ in HEADER)]
    loaded = gf.load(network, device='cpu')
    other = None if without_w is None else gf.load(without_w, device='cpu')
    for row in rows(loaded, other):
        lines.append(' | '.join(row))
        print(f'{lines[-1]}  [{time.monotonic() - began:.0f} s]', flush=True)
        if out is not None:
            write_bytes(out, ''.join(f'| {line} |\n' for line in lines).encode())


if __name__ == '__main__':
    run_command(main)
