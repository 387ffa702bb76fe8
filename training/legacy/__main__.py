"""python -m training.legacy: official pickles to snapshots, snapshots to official names, a look into any pickle."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dnnlib import files
from dnnlib.errors import CheckpointError, ConfigError, run_command
from training.legacy.convert import load_official
from training.legacy.inspect import inspect
from training.run.export import export
from training.run.snapshot import load_snapshot, write_snapshot

PATH = click.Path(path_type=Path)


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
@click.argument('file', type=PATH)
@click.option('--out', help='Write FILE as a snapshot and a JSON report there.', type=PATH, metavar='DIR')
@click.option('--inspect', 'look', help='Print what is in FILE, even if it is of an unknown kind.', is_flag=True)
@click.option('--export', 'target', help='Write snapshot FILE as a state dict under official names.',
              type=PATH, metavar='FILE')  # fmt: skip
def main(file: Path, out: Path | None, look: bool, target: Path | None) -> None:
    """Convert an official network pickle. Nothing in it is executed.

    \b
    python -m training.legacy ffhq.pkl --out=converted
    python -m training.legacy unknown.pkl --inspect
    python -m training.legacy network-snapshot-025000.safetensors --export=stylegan2-ada.safetensors
    """
    if sum((out is not None, look, target is not None)) != 1:
        raise ConfigError('choose one of --out=DIR, --inspect and --export=FILE')
    if look:
        for line in inspect(file):
            click.echo(line)
    elif out is not None:
        convert(file, out)
    elif target is not None:
        _make_folder(target.parent, '--export')
        export(load_snapshot(file), target)
        click.echo(f'{target}: the networks of {file.name} under official names, their arguments in its header')


def convert(file: Path, out: Path) -> None:
    """Writes `out`/NAME.safetensors and NAME.json, prints the report."""
    official = load_official(file)
    _make_folder(out, '--out')
    snapshot, report = out / f'{file.stem}.safetensors', out / f'{file.stem}.json'
    if snapshot.resolve() == file.resolve():
        raise CheckpointError(f'{file}: is where the snapshot would be written; choose another --out')
    write_snapshot(snapshot, official.tensors, official.record, 0)
    files.write_json(report, official.report)
    click.echo(json.dumps(official.report, indent=2))
    click.echo(
        f'{snapshot}: for generate.py, calc_metrics.py and --resume; {report.name} beside it says what was inside'
    )


def _make_folder(path: Path, option: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'{option}={path}: cannot be made: {error.strerror}') from None


if __name__ == '__main__':
    run_command(lambda: main())
