"""Path and flags of nvcc. This module does not import PyTorch, which `make cuda-check` does not need."""

from __future__ import annotations

import os
import shutil

from dnnlib.paths import user_path

NVCC_FLAGS = ('-O3', '-std=c++17')


def find_nvcc() -> str | None:
    """Returns the path of nvcc, or None: on the PATH, in CUDA_HOME, or in the folder of CUDA's installer."""
    homes = (user_path(os.environ.get('CUDA_HOME') or '/usr/local/cuda'), '/usr/local/cuda')
    return shutil.which('nvcc') or next((path for home in homes if (path := shutil.which(f'{home}/bin/nvcc'))), None)
