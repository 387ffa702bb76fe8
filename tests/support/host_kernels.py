"""Pytest plug-in that runs the CUDA kernels on the CPU.

`pytest -p tests.support.host_kernels tests/torch_utils/ops/test_cuda.py`

g++ compiles the sources of the CUDA library, registration included, and they replace the CPU kernels. This does not
test properties of a GPU: concurrency, streams, the launch itself.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from tests.conftest import NEEDS_CUDA, ROOT
from torch_utils.ops import dispatch
from torch_utils.ops.toolchain import build
from torch_utils.ops.toolchain.cpu_toolchain import find_cxx, find_toolchain
from torch_utils.ops.toolchain.cuda_toolchain import CudaToolchain


def run_on_the_cpu(*arguments: str) -> str:
    """Runs pytest with this plug-in in a process of its own. Returns its output; AssertionError if a test fails."""
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', __name__, '-p', 'no:cacheprovider', *arguments],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def check_on_the_cpu(test_file: str) -> None:
    """Runs the tests of a file that need a GPU on the CPU, with warnings as errors; AssertionError if one fails."""
    select = ('--override-ini=filterwarnings=error', '-k', 'not without_a_gpu')
    assert ' passed' in run_on_the_cpu(*select, f'tests/torch_utils/ops/{test_file}')


def load_launchers(folder: Path, operations: Iterable[str], launchers: Iterable[str]) -> ctypes.CDLL:
    """Compiles CUDA sources as host code, without a warning and with checks of undefined behavior, and loads them.

    Args:
        folder: Folder of the library.
        operations: Names of the operations, whose sources are in a folder of that name.
        launchers: Names of the functions that return an error message or None, without 'ganfoundry_'.

    Returns:
        The library.
    """
    library = folder / 'kernels.so'
    flags = ['-std=c++17', '-O1', '-Wall', '-Wextra', '-Werror', '-fsanitize=undefined', '-fno-sanitize-recover']
    sources = [build.CSRC / name / f'{name}.cu' for name in operations]
    command = [find_cxx(), '-x', 'c++', *flags, f'-I{build.CSRC}', '-shared', '-fPIC', *sources, '-o', library]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kernels = ctypes.CDLL(str(library))
    for name in launchers:
        getattr(kernels, f'ganfoundry_{name}').restype = ctypes.c_char_p
    return kernels


class HostToolchain(CudaToolchain):
    """Toolchain with g++ in place of nvcc, and the CPU in place of CUDA."""

    def compilers(self, folder: Path) -> dict[str, tuple[str, ...]]:
        cpp = (self.cxx, *self.compile_flags, '-O1', f'-I{folder}', '-DGF_DISPATCH_KEY=CPU')
        return {'.cpp': cpp, '.cu': (self.cxx, '-x', 'c++', '-std=c++17', '-O2', '-fPIC', f'-I{folder}')}

    def linker(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (self.cxx,), self.link_flags

    def units(self, folder: Path) -> list[Path]:
        return [*CudaToolchain.units(self, folder), Path(__file__).with_name('host_stream.cpp')]


def find_host_toolchain() -> HostToolchain:
    """Returns the tools of this machine."""
    host = find_toolchain()
    tools = {field.name: getattr(host, field.name) for field in fields(host)}
    return HostToolchain(**tools, nvcc=host.cxx, nvcc_version='none', architectures=('host',))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Loads the kernels, moves the tests to the CPU, and removes their need of a GPU."""
    loaded = build.load_cpu()
    if not loaded:
        pytest.exit(f'no native operations: {loaded.problem}', returncode=1)
    torch.ops.load_library(str(build.build_library(find_tools=find_host_toolchain)))
    dispatch.pick = lambda impl, x: 'ref' if impl == 'ref' or x.dtype == torch.float64 else 'cuda'
    for item in items:
        item.module.DEVICE = 'cpu'
        item.own_markers = [mark for mark in item.own_markers if mark.kwargs.get('reason') != NEEDS_CUDA]
