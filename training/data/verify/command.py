"""Command line of `python dataset_tool.py verify DATA`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dnnlib.command import run_command
from dnnlib.errors import ConfigError
from dnnlib.paths import user_path
from dnnlib.printable import printable
from training.data.progress import progress


class _Sheet(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2
    """A size CxR: columns and rows of the contact sheet."""

    name = 'CxR'

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        from training.data.verify.sheet import MAX_CELLS

        if isinstance(value, tuple):
            return value
        columns, _, rows = value.lower().partition('x')
        if not (columns.isdecimal() and rows.isdecimal()):
            self.fail(f'{value!r} is not COLUMNSxROWS, such as 16x10', param, ctx)
        if not (1 <= int(columns) <= MAX_CELLS and 1 <= int(rows) <= MAX_CELLS):
            self.fail(f'{value} must have 1 to {MAX_CELLS} columns and rows', param, ctx)
        return int(columns), int(rows)


@click.command('verify', context_settings={'help_option_names': ['-h', '--help']})
@click.argument('data', type=user_path)
@click.option(
    '--out', type=user_path, metavar='DIR', help='Folder for the report.  [default: NAME-verify next to the data]'
)
@click.option('--workers', type=click.IntRange(0, 256), help='Decoding processes.  [default: one per core]')
@click.option(
    '--max-images', type=click.IntRange(min=1), help='Number of images to check, evenly spread.  [default: all]'
)
@click.option(
    '--near',
    type=click.IntRange(0, 15),
    default=6,
    show_default=True,
    help='Bits of 64 in which the hashes of near duplicates may differ.',
)
@click.option('--no-duplicates', is_flag=True, help='Skip the search for duplicates.')
@click.option('--sheet', type=_Sheet(), default='16x10', show_default=True, help='Size of the contact sheet.')
@click.option('--write-manifest', is_flag=True, help='Without defects, write manifest.json into the folder of images.')
def verify(data: str, out: str | None, sheet: tuple[int, int], no_duplicates: bool, **options: Any) -> None:
    """List all faults of the data set DATA, a folder or a zip.

    Checks names, sizes and CRCs of a zip, sha256 of a folder with a manifest.json, decodes every image, checks labels,
    and looks for exact, near and mirrored duplicates. Writes report.html, report.json and contact-sheet.png.

    Exit code: 0 without defects (warnings do not count), 1 with defects, 2 if the check fails.

    \b
    python dataset_tool.py verify photos.zip
    """
    run_command(lambda: _verify(data, out, sheet, {**options, 'duplicates': not no_duplicates}))


def _verify(data: str, out: str | None, sheet: tuple[int, int], options: dict[str, Any]) -> None:
    """Checks a data set, writes and prints the report, and exits with code 1 if there are defects.

    Args:
        data: Folder or zip.
        out: Folder for the report; None: next to the data.
        sheet: Columns and rows of the contact sheet.
        options: Fields of VerifyOptions.
    """
    from training.data.verify.report import to_text, write_report
    from training.data.verify.survey import VerifyOptions, verify_dataset

    folder = check_out(data, out)
    config = VerifyOptions(**options)
    with progress('images') as advance:
        report = verify_dataset(data, config, advance)
    _write(folder, lambda: write_report(report, folder, *sheet))
    click.echo(to_text(report))
    click.echo(printable(f'report: {folder / "report.html"}'))
    if report.findings.number('defect'):
        sys.exit(1)


def check_out(data: str, out: str | None) -> Path:
    """Returns the folder for the report. Raises ConfigError when it lies inside the data or cannot be written."""
    if out == '':
        raise ConfigError('--out is empty; give a folder for the report, or leave it out')
    folder = Path(os.path.abspath(data).removesuffix('.zip') + '-verify' if out is None else out)
    inside, around = Path(os.path.realpath(folder)), Path(os.path.realpath(data))
    if inside.is_relative_to(around):
        raise ConfigError(f'--out={folder}: lies inside the data; give a folder elsewhere')
    there = next(path for path in (inside, *inside.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f'--out={folder}: cannot be written; give another folder with --out=DIR')
    return folder


def _write(folder: Path, write: Callable[[], None]) -> None:
    """Makes the folder and calls `write`; an error of the file system becomes a ConfigError of one sentence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write()
    except OSError as error:
        raise ConfigError(f'--out={folder}: cannot be written ({error.strerror}); give another folder') from error
