"""Tools that build the CUDA operations in addition to those of the CPU: nvcc, and a PyTorch with a device."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch

from torch_utils.ops.toolchain.cpu_toolchain import BuildError, Toolchain, find_toolchain, is_for_cuda
from torch_utils.ops.toolchain.nvcc import NVCC_FLAGS, find_nvcc, runtime_flags, version_line, way_to_nvcc


@dataclass(frozen=True, slots=True)
class CudaToolchain(Toolchain):
    """Tools that compile `*.cu`, which do not include PyTorch, and `*_cuda.cpp`, which register their kernels.

    Attributes:
        nvcc: Path of nvcc.
        nvcc_version: Line of `nvcc --version` with the release.
        architectures: Compute capabilities of the devices of this machine, such as '90'.
    """

    nvcc: str
    nvcc_version: str
    architectures: tuple[str, ...]

    def identity(self) -> list[str]:
        """Returns everything except the sources that the machine code depends on."""
        return [*Toolchain.identity(self), *NVCC_FLAGS, self.nvcc_version, *self.architectures]

    def units(self, folder: Path) -> list[Path]:
        """Returns the sources to compile, sorted."""
        return sorted([*folder.rglob('*.cu'), *(path for path in folder.rglob('*.cpp') if is_for_cuda(path))])

    def inputs(self, folder: Path) -> list[Path]:
        """Returns the sources and the files that they include, sorted."""
        return sorted([*self.units(folder), *folder.rglob('*.h'), *folder.rglob('*.cuh')])

    def compilers(self, folder: Path) -> dict[str, tuple[str, ...]]:
        """Returns the compile command by suffix of the source; includes are relative to `folder`."""
        targets = (f'-gencode=arch=compute_{arch},code=sm_{arch}' for arch in self.architectures)
        nvcc = (self.nvcc, *NVCC_FLAGS, f'-ccbin={self.cxx}', '-Xcompiler=-fPIC', *targets, f'-I{folder}')
        return {**Toolchain.compilers(self, folder), '.cu': nvcc}

    def linker(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns the link command. nvcc links the CUDA runtime statically, so none is needed at run time."""
        flags = tuple(flag for flag in self.link_flags if flag != '-fopenmp')
        return (self.nvcc, f'-ccbin={self.cxx}'), (*flags, *runtime_flags(self.nvcc), '-ltorch_cuda')


def find_cuda_toolchain() -> CudaToolchain:
    """Returns the tools of this machine. BuildError names a missing one: PyTorch with CUDA, a device, nvcc, g++."""
    if torch.version.cuda is None:
        raise BuildError('this PyTorch is built without CUDA; install one with it, see https://pytorch.org')
    if not torch.cuda.is_available():
        raise BuildError('PyTorch finds no CUDA device; see whether nvidia-smi finds one')
    nvcc = find_nvcc(torch.version.cuda)
    if nvcc is None:
        raise BuildError(f'there is no nvcc; {way_to_nvcc(torch.version.cuda)}')
    version = version_line(nvcc)
    if version is None:
        raise BuildError(f'{nvcc} does not run; {way_to_nvcc(torch.version.cuda)}')
    capabilities = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    host = find_toolchain()
    return CudaToolchain(
        **{field.name: getattr(host, field.name) for field in fields(host)},
        nvcc=nvcc,
        nvcc_version=version,
        architectures=tuple(f'{major}{minor}' for major, minor in sorted(capabilities)),
    )
