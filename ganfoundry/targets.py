"""Targets of calc_metrics.py: snapshots, run folders, finished images."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from dnnlib.errors import DataError
from training.run.open_network import EXPORTED, fetch_network, runs_in, snapshot_of, with_latest
from training.run.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One thing to measure.

    Attributes:
        path: File of a snapshot, or a folder or zip of images.
        is_images: The path holds images.
        folder: The run that the snapshot belongs to.
    """

    path: Path
    is_images: bool
    folder: RunFolder | None = None


def find_targets(text: str, *, images: bool = False) -> list[Target]:
    """Returns the targets at a path or an address: the snapshots of a run folder, newest first, or a single target.

    `latest` and `OUTDIR/latest` are the newest run. A zip holds images, as does a folder that belongs to no run;
    `images` says so for any path. Raises CheckpointError if there is nothing at the path.
    """
    text = text if images else str(with_latest(text))
    path = Path(text)
    if path.is_dir() and (path / 'config.json').is_file() and not images:
        folder = RunFolder(path)
        snapshots = folder.snapshots()[::-1]
        if not snapshots and (path / EXPORTED).is_file():
            return [Target(path=path / EXPORTED, is_images=False)]
        if not snapshots:
            raise DataError(f'{path}: there is no network-snapshot-*.safetensors in this run folder yet')
        return [Target(path=snapshot, is_images=False, folder=folder) for snapshot in snapshots]
    if path.is_dir() and not images and runs_in(path):
        raise DataError(f'{path}: holds runs; name one of them, or {path}/latest')
    if path.is_dir():
        return [Target(path=path, is_images=True)]
    path = fetch_network(text)
    if images or zipfile.is_zipfile(path):
        return [Target(path=path, is_images=True)]
    in_run = (path.parent / 'config.json').is_file()
    return [Target(path=path, is_images=False, folder=RunFolder(path.parent) if in_run else None)]


def find_target(text: str, *, images: bool = False) -> Target:
    """Returns the one target at a path or an address: of a run folder the best snapshot, or the newest without one."""
    first, *others = find_targets(text, images=images)
    if not others or first.folder is None:
        return first
    return replace(first, path=snapshot_of(first.folder))
