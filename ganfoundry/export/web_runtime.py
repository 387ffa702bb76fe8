"""The runtime of a page with a generator inside: two files of the npm package onnxruntime-web."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Literal, NamedTuple

from dnnlib.errors import ConfigError
from dnnlib.files import sha256_of
from dnnlib.paths import user_path

VERSION = '1.30.0'
PACKAGE = 'onnxruntime-web'
COMMAND = f'npm install {PACKAGE}@{VERSION}'
VARIABLE = 'GANFOUNDRY_ORT'
Kind = Literal['wasm', 'webgpu']
SHA256: dict[Kind, dict[str, str]] = {  # digests of the two files of each kind
    'wasm': {
        'ort.wasm.bundle.min.mjs': '11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90',
        'ort-wasm-simd-threaded.wasm': '3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2',
    },
    'webgpu': {
        'ort.webgpu.bundle.min.mjs': '0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2',
        'ort-wasm-simd-threaded.asyncify.wasm': '39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da',
    },
}
PLACES = ('.', 'dist', f'{PACKAGE}/dist', f'node_modules/{PACKAGE}/dist')  # where the files may lie in a folder


class WebRuntime(NamedTuple):
    """The two files, gzipped: a JavaScript module, and the WebAssembly that it starts."""

    module: bytes
    wasm: bytes


def find_runtime(ort: str | None, kind: Kind = 'wasm') -> Path:
    """Returns the folder of the two files, whose digests it checks.

    It is found in the folder of --ort, else in that of $GANFOUNDRY_ORT, else in node_modules of the current folder or
    of one above it.

    Args:
        ort: The folder of --ort: the package, its folder dist, or one with node_modules; None if it is not given.
        kind: 'wasm' for the processor alone, 'webgpu' for the GPU, too, which is larger.

    Raises:
        ConfigError: Names the npm package, and the command that installs it.
    """
    if ort is not None:
        return _checked(_find(Path(ort), kind, f'--ort={ort}'), kind)
    if named := os.environ.get(VARIABLE):
        return _checked(_find(Path(user_path(named)), kind, f'{VARIABLE}={named}'), kind)
    for folder in (here := Path.cwd(), *here.parents):
        if _has_files(found := folder / 'node_modules' / PACKAGE / 'dist', kind):
            return _checked(found, kind)
    raise ConfigError(
        f'--format=html needs the npm package {PACKAGE} {VERSION}: run `{COMMAND}` here, or name its folder with --ort'
    )


def read_runtime(folder: Path, kind: Kind = 'wasm') -> WebRuntime:
    """Returns the two files of a folder."""
    return WebRuntime(*(gzip.compress((folder / name).read_bytes(), 9, mtime=0) for name in SHA256[kind]))


def _find(folder: Path, kind: Kind, where: str) -> Path:
    for place in PLACES:
        if _has_files(folder / place, kind):
            return folder / place
    raise ConfigError(
        f'{where}: has no {" and ".join(SHA256[kind])} of the npm package {PACKAGE}; `{COMMAND}` installs it'
    )


def _has_files(folder: Path, kind: Kind) -> bool:
    return all((folder / name).is_file() for name in SHA256[kind])


def _checked(folder: Path, kind: Kind) -> Path:
    """Returns the folder. Raises ConfigError if its files are not those of the pinned version."""
    for name, digest in SHA256[kind].items():
        if (found := sha256_of(folder / name)) != digest:
            raise ConfigError(
                f'{folder / name}: has the sha256 {found}, that of {PACKAGE} {VERSION} has {digest}; '
                f'`{COMMAND}` installs that version'
            )
    return folder
