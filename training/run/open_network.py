"""Opening a network by what a user calls it: a file, an http(s) address, the folder of a run, or `latest`."""

from __future__ import annotations

from pathlib import Path

from dnnlib.addresses import is_url
from dnnlib.download import fetch
from dnnlib.errors import CheckpointError, RecordError
from dnnlib.paths import user_path
from dnnlib.records import RESULTS, read_record
from training.run.run_folder import RunFolder, nimg_of
from training.run.snapshot import Snapshot, load_snapshot

EXPORTED = 'model.safetensors'  # the network of a folder that export.py wrote
LATEST = 'latest'  # last part of a path: the newest run of the folder before it
OUTDIR = 'runs'  # folder of the runs before which nothing stands: the default of train.py --outdir


def find_network(where: str | Path) -> Path:
    """Returns the file of a network: a path as it is, the download of an address, or a snapshot of a run folder.

    Raises:
        CheckpointError: For a folder without snapshots, or for a path that does not exist.
        DownloadError: For an address that cannot be fetched.
    """
    text = str(with_latest(user_path(str(where))))
    path = Path(text)
    return snapshot_of(RunFolder(path)) if path.is_dir() else fetch_network(text)


def with_latest(where: str | Path) -> str | Path:
    """Returns the folder of the newest run for `latest` and `OUTDIR/latest`, and anything else as it is.

    A file or folder that has this name is itself. Raises CheckpointError if there is no run.
    """
    path = Path(where)
    if path.name != LATEST or path.exists() or is_url(str(where)):
        return where
    outdir = path.parent if path.parent != Path() else Path(OUTDIR)
    runs = runs_in(outdir)
    if not runs:
        raise CheckpointError(f'{where}: there is no run in {outdir}/; name a run folder, or OUTDIR/{LATEST}')
    return runs[-1]


def runs_in(outdir: Path) -> list[Path]:
    """Returns the run folders of an --outdir, the newest last."""
    return sorted(path.parent for path in outdir.glob('[0-9]*-*/config.json'))


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
    """Returns the best snapshot of a run by its first metric, or the newest if there is no best one.

    The network of an exported folder is that of a run with one snapshot.
    """
    snapshots = run.snapshots()
    if not snapshots and (exported := run.path / EXPORTED).is_file():
        return exported
    if not snapshots:
        way_out = (
            f'it holds runs; name one, or {run.path}/{LATEST}' if runs_in(run.path) else 'name a snapshot or a run'
        )
        raise CheckpointError(f'{run.path}: a folder without network-snapshot-*.safetensors; {way_out}')
    try:
        record = read_record(run.best_record, RESULTS)
        best = run.path / record.text('snapshot')
    except RecordError:
        return snapshots[-1]
    # Earlier versions replaced a snapshot by a later one of the same kimg. Whoever opens a damaged one reports that.
    is_another = nimg_of(best) not in (None, record.values.get('nimg'))
    return best if best in snapshots and not ('nimg' in record and is_another) else snapshots[-1]


def open_network(where: str | Path) -> Snapshot:
    """Reads a network.

    Args:
        where: A snapshot, an official .pkl (read as data), the http(s) address of one, an exported folder, or a run
            folder, of which the best snapshot is read, or the newest if none is known as the best; `latest` or
            `OUTDIR/latest` for the newest run.

    Raises:
        CheckpointError: Names the file if it is absent, damaged, or not a network.
        DownloadError: Names the address if it cannot be fetched.
    """
    return load_snapshot(find_network(where))
