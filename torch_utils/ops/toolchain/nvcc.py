"""Path, version and flags of nvcc. This module does not import PyTorch, which `make cuda-check` does not need."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from dnnlib.paths import user_path
from torch_utils.ops.toolchain.probe import first_line

NVCC_FLAGS = ('-O3', '-std=c++17')
INSTALLER_HOME = '/usr/local/cuda'  # folder of NVIDIA's installer
PACKAGE = 'nvidia-cuda-nvcc'  # from CUDA 13 on; the packages of CUDA 12 lack nvcc itself
EXTRA = 'pip install "ganfoundry[cuda]"'
TOOLKIT = 'the CUDA toolkit{}, with its bin folder on the PATH or its root in CUDA_HOME'


def find_nvcc(cuda: str | None = None) -> str | None:
    """Returns the path of nvcc, or None: on the PATH, in CUDA_HOME, of NVIDIA's installer, of the Python package.

    The first one that has the major version of `cuda`, with which PyTorch was built, is preferred. An old toolkit on
    the PATH therefore does not hide the compiler of the extra [cuda].
    """
    paths = list(dict.fromkeys(_paths()))  # each once: the first folders are often the same one
    if cuda is not None and len(paths) > 1:
        return next((path for path in paths if same_major(release(path), cuda)), paths[0])
    return next(iter(paths), None)


def _paths() -> Iterator[str]:
    """Yields every nvcc, best first."""
    homes = (user_path(os.environ.get('CUDA_HOME') or INSTALLER_HOME), INSTALLER_HOME)
    for found in (shutil.which('nvcc'), *(shutil.which(f'{home}/bin/nvcc') for home in homes), packaged_nvcc()):
        if found is not None:
            yield found


def packaged_nvcc() -> str | None:
    """Returns the nvcc of the Python package, which the extra [cuda] installs; None without it."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = (str(file.locate()) for file in files if file.name == 'nvcc')
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def release(nvcc: str) -> str | None:
    """Returns the release of an nvcc, such as '13.0'; None if it does not run."""
    found = re.search(r'release (\d+\.\d+)', version_line(nvcc) or '')
    return found.group(1) if found else None


def version_line(nvcc: str) -> str | None:
    """Returns the line of `nvcc --version` that identifies the release; None if it does not run."""
    return first_line([nvcc, '--version'], containing='release')


def same_major(version: str | None, other: str) -> bool:
    """Returns whether two versions, such as '13.0' and '13.5', have the same major number: one driver runs both."""
    return version is not None and version.split('.')[0] == other.split('.')[0]


def runtime_flags(nvcc: str) -> tuple[str, ...]:
    """Returns the linker's flag for the folder of the CUDA runtime, which a packaged nvcc does not search itself."""
    folder = Path(nvcc).resolve().parent.parent / 'lib'
    return (f'-L{folder}',) if (folder / 'libcudart_static.a').exists() else ()


def way_to_nvcc(cuda: str | None) -> str:
    """Returns how to get an nvcc for a PyTorch that was built with this CUDA version (None: with any)."""
    if cuda is None or int(cuda.split('.')[0]) >= 13:
        return f'{EXTRA}, or install {TOOLKIT.format("")}'
    newer = f'PyTorch for CUDA 13 (pip install "torch>=2.11") and {EXTRA}'
    return f'install {TOOLKIT.format(f" {cuda}")}; or {newer}'
