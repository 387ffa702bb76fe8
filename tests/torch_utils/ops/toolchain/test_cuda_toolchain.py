"""Tests of the tools for CUDA: they build one library with g++, and a missing one is named."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from torch_utils.ops.toolchain import build, cpu_toolchain, cuda_toolchain, nvcc
from torch_utils.ops.toolchain.nvcc import find_nvcc, packaged_nvcc

has_host_tools = bool(cpu_toolchain.find_cxx() and cpu_toolchain.find_ninja())
NO_STREAM = 'extern "C" int aoti_torch_get_current_cuda_stream(int, void**) { return 1; }\n'
START = """
#include "bias_act/bias_act_cuda.h"
using namespace ganfoundry;
extern "C" const char* start() {
    return ganfoundry_bias_act(nullptr, nullptr, nullptr, DType::float32, Layout{1, 1, 1}, BiasAct{}, Target{});
}
"""


@pytest.fixture
def only_the_packaged_nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU and PyTorch for CUDA 13, with g++, its assembler and linker, and no toolkit."""
    assert build.load_cpu()  # defines the operators; from the cache of this session
    (tmp_path / 'bin').mkdir()
    for tool in ('g++', 'as', 'ld'):
        (tmp_path / 'bin' / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    monkeypatch.delenv('CUDA_HOME', raising=False)
    monkeypatch.setattr(nvcc, 'INSTALLER_HOME', str(tmp_path / 'none'))
    monkeypatch.setenv('GANFOUNDRY_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (9, 0))


@pytest.mark.slow
@pytest.mark.skipif(torch.version.cuda is not None, reason='links a stand-in for the library of a PyTorch with CUDA')
@pytest.mark.skipif(packaged_nvcc() is None, reason=f'needs {nvcc.PACKAGE}: {nvcc.EXTRA}')
@pytest.mark.skipif(not has_host_tools, reason='needs g++ and ninja, which are not both found here')
@pytest.mark.usefixtures('only_the_packaged_nvcc')
def test_the_packaged_nvcc_builds_kernels_without_a_toolkit(tmp_path: Path) -> None:
    """The library of one operation registers its CUDA kernels; without a GPU, the launch reports its failure."""
    sources, stand_in = tmp_path / 'csrc', tmp_path / 'libtorch_cuda.so'
    for folder in ('common', 'bias_act'):
        shutil.copytree(build.CSRC / folder, sources / folder)
    (sources / 'start_cuda.cpp').write_text(START)
    (tmp_path / 'stream.cpp').write_text(NO_STREAM)
    soname = f'-Wl,-soname,{stand_in.name}'
    subprocess.run(['g++', '-shared', '-fPIC', soname, tmp_path / 'stream.cpp', '-o', stand_in], check=True)
    tools = cuda_toolchain.find_cuda_toolchain()
    assert tools.nvcc == packaged_nvcc()
    unoptimized = dataclasses.replace(
        tools, compile_flags=(*tools.compile_flags, '-O0'), link_flags=(*tools.link_flags, f'-L{tmp_path}')
    )
    library = build.build_library(sources, find_tools=lambda: unoptimized)

    ctypes.CDLL(str(stand_in), ctypes.RTLD_GLOBAL)
    start = ctypes.CDLL(str(library)).start
    start.restype = ctypes.c_char_p
    assert 'driver' in start().decode()
    for name in ('bias_act', 'bias_act_grad'):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f'ganfoundry::{name}', 'CUDA')


@pytest.mark.skipif(
    not (find_nvcc() and has_host_tools), reason='needs nvcc with g++ and ninja, which are not all found here'
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
    monkeypatch.setattr(
        cuda_toolchain.CudaToolchain, 'linker', lambda self: ((self.nvcc, '-shared'), nvcc.runtime_flags(self.nvcc))
    )
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
    monkeypatch.setattr(cuda_toolchain, 'find_nvcc', lambda cuda: None)
    assert 'there is no nvcc; pip install "ganfoundry[cuda]", or install the CUDA toolkit' in problem()
    monkeypatch.setattr(torch.version, 'cuda', '12.8')
    assert 'there is no nvcc; install the CUDA toolkit 12.8' in problem()
    monkeypatch.setattr(cuda_toolchain, 'find_nvcc', lambda cuda: str(tmp_path / 'nvcc'))
    assert 'does not run' in problem()
