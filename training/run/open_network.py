"""Opening a network by what a user calls it: a file, an http(s) address, or the folder of a run."""

from __future__ import annotations

import json
from pathlib import Path

from dnnlib.download import fetch
from dnnlib.errors import CheckpointError
from training.run.run_folder import RunFolder
from training.run.snapshot import Snapshot, load_snapshot


def find_network(where: str | Path) -> Path:
    """Returns the file of a network: a path as it is, the download of an address, or a snapshot of a run folder.

    Raises:
        CheckpointError: For a folder without snapshots, or for a path that does not exist.
        DownloadError: For an address that cannot be fetched.
    """
    path = Path(where)
    return snapshot_of(RunFolder(path)) if path.is_dir() else fetch_network(str(where))


def fetch_network(where: str) -> Path:
    """Returns the file at a path or an address. Raises CheckpointError if there is none at the path."""
    path = fetch(where)
    if not path.exists():
        raise CheckpointError(
            f'{where}: no such file or folder; a network is a run folder, a snapshot, an official .pkl, or the http(s) '
            'address of a file'
        )
    return path


def snapshot_of(run: RunFolder) -> Path:
    """Returns the best snapshot of a run by its first metric, or the newest if there is no best one."""
    snapshots = sorted(run.path.glob('network-snapshot-*.safetensors'))
    if not snapshots:
        raise CheckpointError(f'{run.path}: a folder without network-snapshot-*.safetensors; name a snapshot or a run')
    try:
        best = run.path / json.loads(run.best_record.read_text())['snapshot']
    except (OSError, ValueError, KeyError, TypeError):
        return snapshots[-1]
    return best if best in snapshots else snapshots[-1]


def open_network(where: str | Path) -> Snapshot:
    """Reads a network.

    Args:
        where: A snapshot, an official .pkl (read as data), the http(s) address of one, or a run folder, of which the
            best snapshot is read, or the newest if none is known as the best.

    Raises:
        CheckpointError: Names the file if it is absent, damaged, or not a network.
        DownloadError: Names the address if it cannot be fetched.
    """
    return load_snapshot(find_network(where))
