"""Effect of augmentation on a few hundred images: runs with and without it, measured against the whole data set.

    python bench/limited_data.py --subset=200 --kimg=130 --rows=noaug,ada --out=runs/limited

A row is a kind of --aug: noaug, ada, diffaug, apa. Every row has the same networks, images, seed and length; the metric
compares what a snapshot draws with all images, also those that were not trained on. Drawn too is the share of training
images that D takes for real: near 1 it knows them by heart.

The same command again trains and measures what is missing. OUT/ROW/ holds the run; OUT/curves.png, shares.png,
sheet.png and table.md are the answer.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.errors import UserError
from dnnlib.files import atomic_path, read_jsonl, write_bytes
from training.run.curve import Points, draw_curves
from training.run.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
# Networks for a few CPU cores, with R1's weight that `auto` gives them; learning rates of `make demo`. ADA's p may move
# twenty times faster than by default, because the runs are short.
SMALL = (
    '--cfg=auto', '--resolution=32', '--cbase=1024', '--cmax=128', '--batch=16', '--glr=0.005', '--dlr=0.005',
)  # fmt: skip
ADA_KIMG = 25


def train(row: str, folder: Path, subset: int, kimg: int, data: str | None) -> RunFolder:
    """Trains a row to its end, or continues it."""
    made = sorted(folder.glob('[0-9]*-*/config.json'))
    flags = [f'--outdir={folder}', *SMALL, f'--subset={subset}', f'--kimg={kimg}', '--tick=2.5', '--snap=4']
    flags += ['--metrics=none', '--seed=0', f'--aug={row}']
    if row in ('ada', 'apa'):
        flags.append(f'--set=aug.kimg={ADA_KIMG}')
    if data is not None:
        flags.append(f'--data={data}')
    call('train.py', f'--resume={made[-1].parent}', f'--kimg={kimg}') if made else call('train.py', *flags)
    return RunFolder(max(folder.glob('[0-9]*-*/config.json')).parent)


def call(script: str, *flags: str) -> None:
    """Runs a script of the project to its end."""
    if subprocess.run([sys.executable, str(ROOT / script), *flags]).returncode:
        raise UserError(f'{script} {" ".join(flags)}: failed; what it said stands above')


def metric_curve(run: RunFolder, metric: str) -> Points:
    """Returns (kimg, value) of every snapshot."""
    return [(line['nimg'] / 1000, line['results'][metric]) for line in run.curve(metric)]


def stat_curve(run: RunFolder, name: str) -> Points:
    """Returns (kimg, mean) of a statistic at every tick."""
    return [(line['nimg'] / 1000, line[name]['mean']) for line in read_jsonl(run.stats) if name in line]


def taken_for_real(run: RunFolder) -> Points:
    """Returns (kimg, fraction of training images with a positive logit) at every tick."""
    return [(kimg, (1 + sign) / 2) for kimg, sign in stat_curve(run, 'Loss/signs/real')]


def sheet(runs: dict[str, RunFolder], path: Path) -> None:
    """Draws the last sample sheets of all runs side by side, in the order of the rows."""
    pictures = [Image.open(max(run.path.glob('fakes[0-9]*.png'))).convert('RGB') for run in runs.values()]
    gap = 8
    width = sum(picture.width + gap for picture in pictures) - gap
    whole = Image.new('RGB', (width, max(picture.height for picture in pictures)), 'white')
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width + gap
    with atomic_path(path) as tmp:
        whole.save(tmp, format='PNG')


def table(runs: dict[str, RunFolder], metric: str, command: str) -> str:
    """Returns a Markdown table of the best and last value of every row, and of D and p at the end."""
    lines = [f'`{command}`', '', f'| row | best {metric} | at kimg | at the end | classified as real by D | p |']
    lines.append('|---|---|---|---|---|---|')
    for row, run in runs.items():
        points = metric_curve(run, metric)
        (best_kimg, best), (_, last) = min(points, key=lambda point: point[1]), points[-1]
        share, p = taken_for_real(run)[-1][1], stat_curve(run, 'Progress/augment')
        strength = f'{p[-1][1]:.2f}' if p and row != 'noaug' else '-'
        lines.append(f'| {row} | {best:.1f} | {best_kimg:.0f} | {last:.1f} | {share:.0%} | {strength} |')
    return '\n'.join(lines) + '\n'


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
@click.option('--rows', default='noaug,ada', show_default=True, help='Comma list of kinds of --aug.')
@click.option('--subset', default=200, show_default=True, help='Images to train on.')
@click.option('--kimg', default=130, show_default=True, help='Length of every run.')
@click.option('--data', help='Images: a zip or a folder.  [default: the embedded set]', metavar='PATH')
@click.option('--metric', default='fd_efflite500_full', show_default=True, help='A _full metric: against all images.')
@click.option('--out', default='runs/limited', show_default=True, metavar='DIR')
def main(rows: str, subset: int, kimg: int, data: str | None, metric: str, out: str) -> None:
    """Trains on a few images, with and without augmentation, and draws what becomes of it."""
    target = Path(out)
    runs = {}
    for row in rows.split(','):
        runs[row] = train(row, target / row, subset, kimg, data)
        call('calc_metrics.py', f'--network={runs[row].path}', f'--metrics={metric}')
    draw_curves({row: [metric_curve(run, metric)] for row, run in runs.items()}, metric, target / 'curves.png')
    shares = {row: [taken_for_real(run)] for row, run in runs.items()}
    draw_curves(shares, 'share of training images that D takes for real', target / 'shares.png')
    sheet(runs, target / 'sheet.png')
    text = table(runs, metric, f'python bench/limited_data.py --subset={subset} --kimg={kimg} --rows={rows}')
    write_bytes(target / 'table.md', text.encode())
    click.echo(text)


if __name__ == '__main__':
    run_command(main)
