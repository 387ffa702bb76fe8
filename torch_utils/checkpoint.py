"""Tensors on disk, whole or not at all: single safetensors files, and state folders with a manifest of checksums.

A state folder is valid exactly when its `manifest.json` is there and every file has the size and sha256 that it
states. The manifest is written last, inside a temporary folder that is then renamed, so a kill at any moment leaves
either the old states or the old states and a new whole one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from dnnlib import files
from dnnlib.errors import CheckpointError

MANIFEST = 'manifest.json'
TENSORS = 'tensors.safetensors'
SCALARS = 'scalars.json'

# What a failed write raises: safetensors reports a full disk through an error class of its own.
WriteErrors = (OSError, safetensors.SafetensorError)

Tensors = dict[str, torch.Tensor]


def save_tensors(path: Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Writes one safetensors file atomically. Tensors of any device and layout; the header holds `metadata`."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with files.atomic_path(path) as tmp:
        safetensors.torch.save_file(plain, tmp, metadata=metadata)


def load_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Reads one safetensors file into memory of its own. Raises CheckpointError that names the file."""
    if not path.is_file():
        raise CheckpointError(f'{path}: no such file')
    try:
        with safetensors.safe_open(path, framework='pt') as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f'{path}: not a whole safetensors file ({error})') from None


def save_state(root: Path, name: str, tensors: Tensors, scalars: dict[str, Any]) -> Path:
    """Writes the state folder `root/name`; a damaged one of that name is replaced. Returns it."""
    root.mkdir(parents=True, exist_ok=True)
    tmp = root / f'{name}{files.TMP_MARK}{os.getpid()}'
    files.remove(tmp)
    try:
        tmp.mkdir()
        save_tensors(tmp / TENSORS, tensors, {})
        files.write_json(tmp / SCALARS, scalars)
        paths = [tmp / TENSORS, tmp / SCALARS]
        entries = {path.name: {'size': path.stat().st_size, 'sha256': files.sha256_of(path)} for path in paths}
        files.write_json(tmp / MANIFEST, entries)
        files.remove(root / name)
        os.replace(tmp, root / name)
        files.fsync_path(root)
    finally:
        files.remove(tmp)
    return root / name


def verify_state(folder: Path) -> None:
    """Raises CheckpointError that names the file and what is wrong with it."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        entries = {file: (int(entry['size']), str(entry['sha256'])) for file, entry in manifest.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise CheckpointError(f'{folder / MANIFEST}: absent or unreadable, the state is not whole') from None
    for file in (TENSORS, SCALARS):
        if file not in entries:
            raise CheckpointError(f'{folder / MANIFEST}: does not list {file}')
        path, (size, digest) = folder / file, entries[file]
        if not path.is_file():
            raise CheckpointError(f'{path}: missing')
        if path.stat().st_size != size:
            raise CheckpointError(f'{path}: {path.stat().st_size} bytes, the manifest says {size}')
        if files.sha256_of(path) != digest:
            raise CheckpointError(f'{path}: damaged, its sha256 is not what the manifest says')


def load_state(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and scalars of a state folder, after its checksums have been verified."""
    verify_state(folder)
    tensors, _ = load_tensors(folder / TENSORS)
    return tensors, json.loads((folder / SCALARS).read_text())


def list_states(root: Path) -> list[Path]:
    """The state folders under `root`, oldest first; whole or not."""
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if p.is_dir() and p.name.isdigit())


def newest_state(root: Path, warn: Callable[[str], None]) -> Path:
    """The newest whole state under `root`; each damaged one on the way is reported through `warn`."""
    damaged = 0
    for folder in reversed(list_states(root)):
        try:
            verify_state(folder)
            return folder
        except CheckpointError as error:
            damaged += 1
            warn(f'{error}; falling back to the state before it')
    found = f'{damaged} damaged state(s) and no whole one' if damaged else 'no saved state'
    raise CheckpointError(f'{root}: {found}; start afresh without --resume')


def prune_states(root: Path, keep: int, protected: set[str], warn: Callable[[str], None]) -> None:
    """Removes all but the last `keep` states and the `protected` names. A failed removal only warns."""
    for folder in list_states(root)[:-keep]:
        if folder.name not in protected:
            files.remove(folder)
            if folder.exists():
                warn(f'{folder}: cannot be removed')
