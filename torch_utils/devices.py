"""Choice and settings of the compute device."""

from __future__ import annotations

import os

import torch

from dnnlib.errors import ConfigError


def prepare(
    device: torch.device, *, benchmark: bool = True, allow_tf32: bool = False, deterministic: bool = False
) -> None:
    """Sets up PyTorch for a device, once per process.

    Args:
        device: The device that computes.
        benchmark: Whether cuDNN may try its algorithms and pick the fastest.
        allow_tf32: Whether float32 on a GPU may use TF32 instead of IEEE precision.
        deterministic: Whether every process and every run must give the same bits. On GPUs, an operation without a
            reproducible kernel then raises an error that names it; on CPUs, there is one thread, because sums are split
            by the number of threads.
    """
    if deterministic and device.type == 'cuda':
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # read when cuBLAS starts
        torch.use_deterministic_algorithms(True)
    if deterministic and device.type == 'cpu':
        torch.set_num_threads(1)
    if device.type == 'cuda':
        torch.backends.cudnn.benchmark = benchmark and not deterministic
        torch.backends.cudnn.allow_tf32 = allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = allow_tf32


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
