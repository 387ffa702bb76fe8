"""Conversion of networks: official pickles to snapshots, snapshots to official names, the content of any pickle."""

from __future__ import annotations

import json
from pathlib import Path

from dnnlib import files
from dnnlib.errors import CheckpointError, ConfigError
from training.legacy.convert import load_official
from training.legacy.inspect import inspect
from training.run.export import export
from training.run.snapshot import load_snapshot, write_snapshot


def run_conversion(file: Path, out: Path | None, look: bool, target: Path | None) -> None:
    """Carries out a command line of `ganfoundry convert`.

    Args:
        file: An official .pkl; with `target`, a snapshot.
        out: Folder for the snapshot and a JSON report, or None.
        look: Print what `file` holds.
        target: File for a state dict under official names, or None.

    Raises:
        ConfigError: Unless exactly one of the three is asked for.
    """
    if sum((out is not None, look, target is not None)) != 1:
        raise ConfigError('choose one of --out=DIR, --inspect and --export=FILE')
    if look:
        for line in inspect(file):
            print(line)
    elif out is not None:
        convert_network(file, out)
    elif target is not None:
        _make_folder(target.parent, '--export')
        export(load_snapshot(file), target)
        print(f'{target}: the networks of {file.name} under official names, their arguments in its header')


def convert_network(file: Path, out: Path) -> None:
    """Writes `out`/NAME.safetensors and NAME.json, and prints the report."""
    official = load_official(file)
    _make_folder(out, '--out')
    snapshot, report = out / f'{file.stem}.safetensors', out / f'{file.stem}.json'
    if snapshot.resolve() == file.resolve():
        raise CheckpointError(f'{file}: the snapshot would replace this file; choose another --out')
    write_snapshot(snapshot, official.tensors, official.record, 0)
    files.write_json(report, official.report)
    print(json.dumps(official.report, indent=2))
    print(f'{snapshot}: for generate.py, calc_metrics.py and --resume; {report.name} lists what the pickle held')


def _make_folder(path: Path, option: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'{option}={path}: cannot be made: {error.strerror}') from None
