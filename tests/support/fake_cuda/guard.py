"""The guard library, which lets autograd run on fake CUDA tensors; built once per machine, loaded before torch."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

from dnnlib.command import skip_finalization
from dnnlib.download import cache_folder
from dnnlib.files import atomic_path

SOURCE = Path(__file__).with_suffix('.cpp')


def load() -> None:
    """Builds the library, unless it is built, and loads it; torch must not be imported yet.

    The process needs `run_command`, which then skips finalization: a backward pass on a fake device runs in a thread of
    autograd, which releases the FakeCuda mode after the main thread has continued.
    """
    assert 'torch' not in sys.modules, 'the guard must be loaded before torch'
    skip_finalization()
    ctypes.CDLL(str(build(cache_folder())))


def build(folder: Path) -> Path:
    """Returns the library of this source and of the installed PyTorch in a folder; processes take turns to build it."""
    key = hashlib.sha256(SOURCE.read_bytes() + importlib.metadata.version('torch').encode()).hexdigest()
    library = folder / f'fake-cuda-{key[:20]}.so'
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with library.with_suffix('.lock').open('a') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            with atomic_path(library) as tmp:
                subprocess.run(_command(tmp), check=True)
    return library


def _command(library: Path) -> list[str | Path]:
    """Returns the command line of the compiler."""
    spec = importlib.util.find_spec('torch')  # does not import it
    assert spec is not None, 'PyTorch is not installed'
    assert spec.submodule_search_locations, 'PyTorch is not a package'
    torch_root = Path(spec.submodule_search_locations[0])
    include, lib = torch_root / 'include', torch_root / 'lib'
    return ['g++', '-O0', '-std=c++20', '-shared', '-fPIC', '-isystem', include, '-isystem',
            include / 'torch/csrc/api/include', SOURCE, '-o', library, f'-L{lib}', '-lc10', '-ltorch_cpu',
            f'-Wl,-rpath,{lib}']  # fmt: skip
