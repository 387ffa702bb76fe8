"""Fingerprints of stored files: flat tables from names to values, equal exactly if the files hold the same bits.

A tensor, an array, an image and the member of an archive become digests; a number in JSON stays readable. Provenance
(commit, command line, machine, versions), times and memory are left out, and so is prose: logs and pages.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

Fingerprint = dict[str, str]

VERSION = 1  # raise it if the same files get another fingerprint

SKIPPED_FILES = re.compile(r'.*\.(txt|log|html|lock|pt|bin)|events\.out\.tfevents.*|manifest\.json|\..*')
# Entries of records that differ between two runs of the same code. A digest of a snapshot covers its provenance.
SKIPPED_ENTRIES = re.compile(
    r'(.*\.)?((Timing|Resources)/.*|timestamp|.*seconds|total_time.*|commit|argv|command|machine|plugin|launch|versions'
    r'|network_sha256|source\.sha256|run_id)'
)


def of_folder(folder: Path) -> Fingerprint:
    """Returns the fingerprint of all files below a folder, in the order of their paths.

    Paths inside the folder become relative to it: two folders with equal files are equal.
    """
    table: Fingerprint = {}
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        if not SKIPPED_FILES.fullmatch(path.name):
            name = path.relative_to(folder).as_posix()
            table[name] = 'present'
            entries = of_bytes(path.name, path.read_bytes())
            table |= {f'{name}: {key}': value.replace(f'{folder}/', '') for key, value in entries}
    return table


def of_bytes(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    """Yields the entries of one file. Its name decides how it is read."""
    suffix = Path(name).suffix
    if suffix == '.safetensors':
        yield from of_safetensors(data)
    elif suffix == '.json':
        yield from of_json(json.loads(data))
    elif suffix == '.jsonl':
        yield from of_lines(data.decode())
    elif suffix == '.png':
        yield from of_png(data)
    elif suffix == '.npz':
        yield from of_npz(data)
    elif suffix == '.zip':
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from ((f'{member}: {key}', value) for key, value in of_bytes(member, archive.read(member)))
    else:
        yield 'bytes', digest(data)


def of_safetensors(data: bytes) -> Iterator[tuple[str, str]]:
    """Yields the digest of every tensor, and the entries of the header's metadata."""
    length = int.from_bytes(data[:8], 'little')
    header, body = json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :]
    for key, text in sorted(header.pop('__metadata__', {}).items()):
        yield from of_text(key, text)
    for key, entry in sorted(header.items()):
        begin, end = entry['data_offsets']
        yield key, f'{entry["dtype"]} {entry["shape"]} {digest(body[begin:end])}'


def of_lines(text: str) -> Iterator[tuple[str, str]]:
    """Yields the entries of a text whose lines are JSON."""
    for number, line in enumerate(text.splitlines(), 1):
        yield from of_json(json.loads(line), f'line {number}')


def of_json(value: Any, where: str = '') -> Iterator[tuple[str, str]]:
    """Yields the leaves of a JSON value by their paths, such as 'config.r1.gamma'."""
    if isinstance(value, dict):
        for key, item in value.items():
            path = f'{where}.{key}' if where else key
            if not SKIPPED_ENTRIES.fullmatch(path):
                yield from of_json(item, path)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, item in enumerate(value):
            yield from of_json(item, f'{where}[{number}]')
    else:
        yield where, json.dumps(value)


def of_text(key: str, text: str) -> Iterator[tuple[str, str]]:
    """Yields the entries of one item of metadata: JSON by its leaves, other text as it is."""
    if text.startswith('{'):
        yield from of_json(json.loads(text), key)
    elif not SKIPPED_ENTRIES.fullmatch(key):
        yield key, text


def of_png(data: bytes) -> Iterator[tuple[str, str]]:
    """Yields the digest of an image's pixels, and its text chunks."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        yield 'pixels', f'{image.mode} {image.size} {digest(image.tobytes())}'
        for key, text in sorted(getattr(image, 'text', {}).items()):
            yield from of_text(key, text)


def of_npz(data: bytes) -> Iterator[tuple[str, str]]:
    """Yields the digest of every array; a text is read as metadata."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        for key in sorted(archive.files):
            array = archive[key]
            if array.dtype.kind == 'U' and array.ndim == 0:
                yield from of_text(key, str(array))
            else:
                yield key, f'{array.dtype} {list(array.shape)} {digest(np.ascontiguousarray(array).tobytes())}'


def digest(data: bytes | memoryview) -> str:
    """Returns the first 16 digits of the sha256."""
    return hashlib.sha256(data).hexdigest()[:16]


def differences(base: Fingerprint, here: Fingerprint) -> list[str]:
    """Returns a sentence per entry that differs: first those of `base` in their order, then those that it lacks."""
    found = []
    for name in [*base, *(name for name in here if name not in base)]:
        before, after = base.get(name, 'absent'), here.get(name, 'absent')
        if before != after:
            found.append(f'{name}: {before} -> {after}')
    return found
