"""Tensors on disk, complete or absent: safetensors files, and state folders with a manifest of checksums.

A state folder is valid if and only if it has a `manifest.json` and every file has the size and sha256 listed there. A
file that cannot be read is damaged, whatever the reason. The manifest is written last, inside a temporary folder that
is then renamed: a kill at any moment leaves the old states, or the old states and a complete new one.
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
from dnnlib.errors import CheckpointError, FileError, RecordError
from dnnlib.records import Limits, Record, parse_record, read_record
from dnnlib.regular_file import open_regular

MANIFEST = 'manifest.json'
TENSORS = 'tensors.safetensors'
SCALARS = 'scalars.json'
METADATA = '__metadata__'  # key of the texts in the header of a safetensors file
IDENTITY = 'run.json'  # id of the run; absent from the states of versions that had none

# Exceptions of a failed write: safetensors reports a full disk by an error class of its own.
WriteErrors = (OSError, safetensors.SafetensorError)

MAX_TENSORS = 2**16
# Statistics of the open tick may be NaN, and loss terms remember tensors as lists.
STATE_SCALARS = Limits(file_bytes=64 << 20, entries=4_000_000, depth=100, finite=False)
HEADER = Limits(file_bytes=32 << 20, text_chars=16 << 20, depth=4)

Tensors = dict[str, torch.Tensor]


def save_tensors(path: Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Writes a safetensors file atomically.

    Args:
        path: File to write.
        tensors: Tensors by name, of any device and layout.
        metadata: Texts by name, for the header.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with files.atomic_path(path) as tmp:
        # safetensors 0.8 writes a header that is no JSON if there are neither tensors nor metadata.
        safetensors.torch.save_file(plain, tmp, metadata=metadata if plain or metadata else None)
        _sort_metadata(tmp)


def _sort_metadata(path: Path) -> None:
    """Sorts the metadata in the header of a safetensors file, whose order is random: equal contents, equal bytes."""
    with path.open('r+b') as file:
        num_bytes = int.from_bytes(file.read(8), 'little')
        header = json.loads(file.read(num_bytes))
        header = {name: dict(sorted(header[name].items())) if name == METADATA else header[name] for name in header}
        text = json.dumps(header, separators=(',', ':'), ensure_ascii=False).encode()
        assert len(text) <= num_bytes
        file.seek(8)
        file.write(text.ljust(num_bytes))


def load_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Reads a safetensors file into memory of its own. Raises CheckpointError that names the file."""
    try:
        _check_header(path)
        with safetensors.safe_open(path, framework='pt') as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileError as error:
        raise CheckpointError(str(error)) from None
    except (OSError, safetensors.SafetensorError, RuntimeError, TypeError) as error:
        raise CheckpointError(f'{path}: not a complete safetensors file ({error})') from None


def _check_header(path: Path) -> Record:
    """Returns the header. Raises CheckpointError if it is damaged, or asks for more than a network has.

    A header of 100 MB, which safetensors accepts, may list a million empty tensors.
    """
    with open_regular(path) as file:
        num_bytes = int.from_bytes(file.read(8), 'little')
        if not 2 <= num_bytes <= HEADER.file_bytes:
            raise CheckpointError(f'{path}: not a complete safetensors file (a header of {num_bytes} bytes)')
        header = parse_record(file.read(num_bytes), f'{path}: its header', HEADER)
    if len(header.values) > MAX_TENSORS:
        raise CheckpointError(f'{path}: {len(header.values)} tensors, more than {MAX_TENSORS}')
    for name in header.values:
        entry = header.record(name)
        if name != METADATA:
            entry.text('dtype')
            entry.items('shape')
    return header


def load_metadata(path: Path) -> dict[str, Any]:
    """Returns the metadata in the header of a safetensors file. Raises CheckpointError that names the file."""
    try:
        header = _check_header(path)
    except OSError as error:
        raise CheckpointError(f'{path}: cannot be read ({error.strerror})') from None
    return header.record(METADATA).values if METADATA in header else {}


def save_state(root: Path, name: str, tensors: Tensors, scalars: dict[str, Any], run_id: str | None = None) -> Path:
    """Writes the state folder `root/name` atomically; an existing one of that name is replaced.

    Args:
        root: Folder of all states; made if absent.
        name: Name of the state folder.
        tensors: Tensors by name.
        scalars: Values of JSON's types by name.
        run_id: Id of the run, None if it has none.

    Returns:
        The path of the state folder.
    """
    root.mkdir(parents=True, exist_ok=True)
    tmp = root / f'{name}{files.TMP_MARK}{os.getpid()}'
    files.remove(tmp)
    try:
        tmp.mkdir()
        save_tensors(tmp / TENSORS, tensors, {})
        files.write_json(tmp / SCALARS, scalars)
        paths = [tmp / TENSORS, tmp / SCALARS]
        if run_id is not None:
            files.write_json(tmp / IDENTITY, {'run_id': run_id})
            paths.append(tmp / IDENTITY)
        entries = {path.name: {'size': path.stat().st_size, 'sha256': files.sha256_of(path)} for path in paths}
        files.write_json(tmp / MANIFEST, entries)
        files.remove(root / name)
        os.replace(tmp, root / name)
        files.fsync_path(root)
    finally:
        files.remove(tmp)
    return root / name


def verify_state(folder: Path) -> None:
    """Raises CheckpointError that names the damaged or unreadable file and the fault."""
    try:
        manifest = read_record(folder / MANIFEST)
        listed = {file: manifest.record(file) for file in manifest.values}
        entries = {file: (entry.whole('size'), entry.text('sha256')) for file, entry in listed.items()}
    except RecordError:
        raise CheckpointError(f'{folder / MANIFEST}: absent or unreadable, the state is not complete') from None
    for file in (TENSORS, SCALARS):
        if file not in entries:
            raise CheckpointError(f'{folder / MANIFEST}: does not list {file}')
    for file in entries.keys() & {TENSORS, SCALARS, IDENTITY}:
        try:
            _verify_file(folder / file, *entries[file])
        except OSError as error:
            raise CheckpointError(f'{folder / file}: cannot be read ({error.strerror})') from None


def _verify_file(path: Path, size: int, digest: str) -> None:
    """Raises CheckpointError if a file differs from its entry in the manifest, OSError if it cannot be read."""
    if not path.is_file():
        raise CheckpointError(f'{path}: missing')
    if path.stat().st_size != size:
        raise CheckpointError(f'{path}: {path.stat().st_size} bytes, the manifest says {size}')
    if files.sha256_of(path) != digest:
        raise CheckpointError(f'{path}: damaged, its sha256 differs from the manifest')


def load_state(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """Verifies the checksums of a state folder and returns its tensors and scalars."""
    verify_state(folder)
    tensors, _ = load_tensors(folder / TENSORS)
    return tensors, read_record(folder / SCALARS, STATE_SCALARS).values


def identity_of(folder: Path) -> tuple[int, str | None]:
    """Returns the number of images shown and the run's id of a verified state; None for a state without id."""
    nimg = read_record(folder / SCALARS, STATE_SCALARS).whole('nimg')
    has_id = (folder / IDENTITY).exists()
    return nimg, read_record(folder / IDENTITY).text('run_id') if has_id else None


def list_states(root: Path) -> list[Path]:
    """Returns the state folders under `root`, oldest first, damaged ones included."""
    try:
        return sorted(p for p in root.iterdir() if p.name.isdigit() and p.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CheckpointError(f'{root}: cannot be listed ({error.strerror})') from None


def newest_state(root: Path, warn: Callable[[str], None], check: Callable[[Path], None] = verify_state) -> Path:
    """Returns the newest intact state.

    Args:
        root: Folder of all states.
        warn: Receives a message per state that is passed over.
        check: Raises CheckpointError for a state that cannot be taken.

    Raises:
        CheckpointError: If there is no state that can be taken.
    """
    damaged, first = 0, ''
    for folder in reversed(list_states(root)):
        try:
            check(folder)
            return folder
        except CheckpointError as error:
            damaged += 1
            first = first or f'. The newest: {error}'
            warn(f'{error}; falling back to the state before it')
    found = f'{damaged} damaged state(s) and no intact one' if damaged else 'no saved state'
    raise CheckpointError(f'{root}: {found}; start a new run without --resume{first}')


def prune_states(root: Path, keep: int, protected: set[str], warn: Callable[[str], None]) -> None:
    """Removes old states. A removal that fails is reported and otherwise ignored.

    Args:
        root: Folder of all states.
        keep: Number of newest states that stay.
        protected: Names of states that stay in any case.
        warn: Function that reports a failed removal.
    """
    for folder in list_states(root)[:-keep]:
        if folder.name not in protected:
            files.remove(folder)
            if folder.exists():
                warn(f'{folder}: cannot be removed')
