"""Tests of the tools for CUDA: they build one library with g++, and a missing one is named."""

from __future__ import annotations

import ctypes
import dataclasses
from pathlib import Path

import pytest
import torch

from torch_utils.ops.toolchain import build, cpu_toolchain, cuda_toolchain
from torch_utils.ops.toolchain.nvcc import find_nvcc


@pytest.mark.skipif(
    not (find_nvcc() and cpu_toolchain.find_cxx() and cpu_toolchain.find_ninja()),
    reason='needs nvcc with g++ and ninja, which are not all found here',
)
def test_nvcc_and_gxx_build_one_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library has the sources for CUDA only; without a GPU, the launch reports its failure."""
    monkeypatch.setenv('GANFOUNDRY_CACHE', str(tmp_path / 'cache'))
    sources = {
        'nothing.cu': '__global__ void nothing() {}\n'
        'extern "C" int run() { nothing<<<1, 1>>>(); return cudaGetLastError(); }\n',
        'nothing_cuda.cpp': 'extern "C" int run(); extern "C" int start() { return run(); }\n',
        'other.cpp': '#error this is for the CPU\n',
    }
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
    host = cpu_toolchain.find_toolchain()
    major, minor = torch.cuda.get_device_capability() if torch.cuda.is_available() else (9, 0)
    tools = cuda_toolchain.CudaToolchain(
        **{field.name: getattr(host, field.name) for field in dataclasses.fields(host)},
        nvcc=find_nvcc(), nvcc_version='any', architectures=(f'{major}{minor}',),
    )  # fmt: skip
    monkeypatch.setattr(cuda_toolchain.CudaToolchain, 'linker', lambda self: ((self.nvcc, '-shared'), ()))
    library = build.build_library(tmp_path, find_tools=lambda: tools)
    status = ctypes.CDLL(str(library)).start()
    assert (status == 0) == torch.cuda.is_available()


def test_what_is_missing_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PyTorch with CUDA, a device, nvcc: in this order."""

    def problem() -> str:
        with pytest.raises(cpu_toolchain.BuildError) as caught:
            cuda_toolchain.find_cuda_toolchain()
        return str(caught.value)

    monkeypatch.setattr(torch.version, 'cuda', None)
    assert 'built without CUDA; install one with it' in problem()
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert 'no CUDA device; see whether nvidia-smi' in problem()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(cuda_toolchain, 'find_nvcc', lambda: None)
    assert 'there is no nvcc; install the CUDA toolkit' in problem()
    monkeypatch.setattr(cuda_toolchain, 'find_nvcc', lambda: str(tmp_path / 'nvcc'))
    assert 'does not run' in problem()
