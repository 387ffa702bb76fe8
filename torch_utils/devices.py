"""Choice and settings of the compute device."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

from dnnlib.errors import ConfigError


def gpu_products() -> tuple[Any, ...]:
    """Returns PyTorch's settings of float32 products on GPUs: each has `fp32_precision`, 'ieee' or 'tf32'."""
    backends: Any = torch.backends  # torch's annotations lack the precision per operation
    return backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul


def prepare(
    device: torch.device, *, benchmark: bool = False, allow_tf32: bool = False, deterministic: bool = False
) -> None:
    """Sets up PyTorch for a device, once per process.

    Args:
        device: The device that computes.
        benchmark: Whether cuDNN may try its algorithms and pick the fastest.
        allow_tf32: Whether float32 products on a GPU round their factors to TF32. PyTorch's own default is TF32 in
            convolutions and IEEE float32 in matrix products.
        deterministic: Whether every process and every run must give the same bits. On GPUs, an operation without a
            reproducible kernel then raises an error that names it; on CPUs, there is one thread, because sums are split
            by the number of threads.
    """
    if deterministic and device.type == 'cuda':
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # read when cuBLAS starts
        torch.use_deterministic_algorithms(True)
        # Nothing here reads what it has not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if deterministic and device.type == 'cpu':
        torch.set_num_threads(1)
    if device.type == 'cuda':
        torch.backends.cudnn.benchmark = benchmark and not deterministic
        for product in gpu_products():  # never the older switches allow_tf32, which PyTorch refuses to mix with these
            product.fp32_precision = 'tf32' if allow_tf32 else 'ieee'


def needs_fixed_order(x: torch.Tensor) -> bool:
    """Returns whether sums over `x` must have a fixed order that PyTorch's own kernel for its device may lack."""
    return x.is_cuda and torch.are_deterministic_algorithms_enabled()


@contextlib.contextmanager
def deterministic_float32() -> Iterator[None]:
    """Makes float32 convolutions and products IEEE float32 (no TF32, no bfloat16) and repeatable within a block.

    Settings that a run chose for speed then do not change a measurement.
    """
    backends: Any = torch.backends
    products = (*gpu_products(), backends.mkldnn.conv, backends.mkldnn.matmul)
    precisions = [product.fp32_precision for product in products]
    benchmark, deterministic = backends.cudnn.benchmark, backends.cudnn.deterministic
    try:
        for product in products:
            product.fp32_precision = 'ieee'
        backends.cudnn.benchmark, backends.cudnn.deterministic = False, True
        yield
    finally:
        for product, precision in zip(products, precisions, strict=True):
            product.fp32_precision = precision
        backends.cudnn.benchmark, backends.cudnn.deterministic = benchmark, deterministic


def excess_load() -> float | None:
    """Returns the machine's load average of the last minute if it exceeds the number of its cores, else None.

    The load average counts threads of the whole machine, also within a container or an affinity mask; therefore it is
    compared with all cores, not with those that this process may use.
    """
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None
    return load if load > (os.cpu_count() or 1) else None


def busy_cpu(device: torch.device) -> tuple[str, str] | None:
    """Returns a fact and its remedy if other processes slow down the threads of a CPU, else None.

    Threads that wait for each other after every operation lose a time slice each time. The number of threads is left to
    the user, because it changes the order of sums.

    Args:
        device: The device that computes.
    """
    threads, load = torch.get_num_threads(), excess_load()
    if device.type != 'cpu' or threads == 1 or load is None:
        return None
    fact = f'other processes keep the machine busy (load average {load:.1f}, {os.cpu_count()} cores)'
    return fact, (
        f'one thread can be several times as fast as {threads} then: OMP_NUM_THREADS=1 (compare.py: --threads=1)'
    )


def pick_device(name: str | None, *, kinds: tuple[str, ...] = ('cpu', 'cuda')) -> torch.device:
    """Chooses a device.

    Args:
        name: Name of the device; None: the best available one.
        kinds: Names that the caller supports.

    Returns:
        The device.

    Raises:
        ConfigError: If the named device is unsupported or absent.
    """
    there = {'cpu': True, 'cuda': torch.cuda.is_available(), 'mps': torch.backends.mps.is_available()}
    if name is None:
        return torch.device(next(kind for kind in ('cuda', 'mps', 'cpu') if kind in kinds and there[kind]))
    if name not in kinds:
        raise ConfigError(f'--device={name}: choose {" or ".join(kinds)}')
    if not there[name]:
        raise ConfigError(f'--device={name}: PyTorch sees no such device here; use --device=cpu')
    return torch.device(name)
