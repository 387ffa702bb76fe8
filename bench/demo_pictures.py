"""The README's pictures of `make demo`, from the files of its run and nothing else.

    make demo
    python bench/demo_pictures.py --run=runs/00000-peeps6432-squeeze-...-demo

docs/images/demo_init.png and demo_final.png are the first rows of the first and of the last sheet, the latter below a
row of real images; demo_curve.png is the run's own curve.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.errors import UserError
from dnnlib.files import atomic_path, write_bytes
from training.run.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
METRIC = 'fd_efflite1k'
ROWS = 8  # rows of generated images
GAP = 8  # pixels between real and generated images


def rows_of(sheet: Path, count: int, size: int) -> Image.Image:
    """Returns the first rows of a sheet.

    Args:
        sheet: The sheet.
        count: Number of rows.
        size: Height of an image, pixels.
    """
    with Image.open(sheet) as picture:
        return picture.convert('RGB').crop((0, 0, picture.width, count * size))


def below_reals(reals: Path, sheet: Path, size: int) -> Image.Image:
    """Returns rows of a sheet below one row of real images.

    Args:
        reals: Sheet of real images.
        sheet: Sheet of generated ones.
        size: Height of an image, pixels.
    """
    top, rest = rows_of(reals, 1, size), rows_of(sheet, ROWS, size)
    whole = Image.new('RGB', (rest.width, size + GAP + rest.height), 'white')
    whole.paste(top, (0, 0))
    whole.paste(rest, (0, size + GAP))
    return whole


def save(picture: Image.Image, path: Path) -> None:
    """Writes a PNG."""
    with atomic_path(path) as tmp:
        picture.save(tmp, format='PNG', optimize=True)


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
@click.option('--run', 'path', type=Path, required=True, help='Folder of a finished run.', metavar='DIR')
@click.option('--out', type=Path, default=ROOT / 'docs' / 'images', help='Folder of the pictures.', metavar='DIR')
def main(path: Path, out: Path) -> None:
    """Writes demo_init.png, demo_final.png and demo_curve.png from the sheets and the curve of a run."""
    run = RunFolder(path)
    sheets = sorted(path.glob('fakes[0-9]*.png'))
    if not sheets or not (path / f'metric-{METRIC}.png').exists():
        raise UserError(f'--run={path}: has no sheet or no curve of {METRIC}; name the folder of a finished demo')
    size = run.record()['facts']['resolution']
    save(rows_of(path / 'fakes_init.png', ROWS, size), out / 'demo_init.png')
    save(below_reals(path / 'reals.png', sheets[-1], size), out / 'demo_final.png')
    write_bytes(out / 'demo_curve.png', (path / f'metric-{METRIC}.png').read_bytes())


if __name__ == '__main__':
    run_command(main)
