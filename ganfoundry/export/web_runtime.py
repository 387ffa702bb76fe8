"""The runtime of a page with a generator inside: two files of the npm package onnxruntime-web."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import NamedTuple

from dnnlib.errors import ConfigError
from dnnlib.files import sha256_of
from dnnlib.paths import user_path

VERSION = '1.30.0'
PACKAGE = 'onnxruntime-web'
COMMAND = f'npm install {PACKAGE}@{VERSION}'
VARIABLE = 'GANFOUNDRY_ORT'
SHA256 = {
    'ort.wasm.bundle.min.mjs': '11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90',
    'ort-wasm-simd-threaded.wasm': '3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2',
}
PLACES = ('.', 'dist', f'{PACKAGE}/dist', f'node_modules/{PACKAGE}/dist')  # of the files, under a named folder


class WebRuntime(NamedTuple):
    """The two files, gzipped: a JavaScript module, and the WebAssembly that it starts."""

    module: bytes
    wasm: bytes


def find_runtime(ort: str | None) -> Path:
    """Returns the folder of the two files, whose digests it checks.

    It is found in the folder of --ort, else in that of $GANFOUNDRY_ORT, else in node_modules of the current folder or
    of one above it.

    Args:
        ort: The folder of --ort: the package, its folder dist, or one with node_modules; None if it is not given.

    Raises:
        ConfigError: Names the npm package, and the command that installs it.
    """
    if ort is not None:
        return _checked(_find(Path(ort), f'--ort={ort}'))
    if named := os.environ.get(VARIABLE):
        return _checked(_find(Path(user_path(named)), f'{VARIABLE}={named}'))
    for folder in (here := Path.cwd(), *here.parents):
        if _has_files(found := folder / 'node_modules' / PACKAGE / 'dist'):
            return _checked(found)
    raise ConfigError(
        f'--format=html needs the npm package {PACKAGE} {VERSION}: run `{COMMAND}` here, or name its folder with --ort'
    )


def read_runtime(folder: Path) -> WebRuntime:
    """Returns the two files of a folder."""
    return WebRuntime(*(gzip.compress((folder / name).read_bytes(), 9, mtime=0) for name in SHA256))


def _find(folder: Path, where: str) -> Path:
    for place in PLACES:
        if _has_files(folder / place):
            return folder / place
    raise ConfigError(f'{where}: has no {" and ".join(SHA256)} of the npm package {PACKAGE}; `{COMMAND}` installs it')


def _has_files(folder: Path) -> bool:
    return all((folder / name).is_file() for name in SHA256)


def _checked(folder: Path) -> Path:
    """Returns the folder. Raises ConfigError if its files are not those of the pinned version."""
    for name, digest in SHA256.items():
        if (found := sha256_of(folder / name)) != digest:
            raise ConfigError(
                f'{folder / name}: has the sha256 {found}, that of {PACKAGE} {VERSION} has {digest}; '
                f'`{COMMAND}` installs that version'
            )
    return folder
