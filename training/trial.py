"""A few steps of a run, outside its folder: the time and memory that the plan of a run states.

A first step builds the native operations and warms up; the following ones are timed, phase by phase. All run all
phases, whose times are then weighted by how often each is due. On a GPU, and wherever `MAX_MACS` permits, a step has
one micro-batch of the run, the larger one of G's and D's. Otherwise there are steps of two smaller sizes, from which
time and memory are extrapolated linearly.
"""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass, replace

import numpy as np
import torch

from dnnlib.errors import ConfigError
from dnnlib.log import format_bytes
from training.build import build
from training.config import RunConfig
from training.data.dataset import ImageDataset
from training.state import TrainState
from training.step import TrainStep

MAX_MACS = 2e11  # multiply-adds of all steps on a CPU: some seconds on one core
PASSES = 6  # multiply-adds of an image in a step, in forward passes of G and D: G and D in two phases, with gradients


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """Time and memory of a run's steps, without workers, metrics and the exchange between processes.

    Attributes:
        sec_per_kimg: Seconds per thousand images of the run, over all its processes.
        num_bytes: Largest memory of a process, on its device.
        sizes: Images of the steps that were measured.
    """

    sec_per_kimg: float
    num_bytes: int
    sizes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """Seconds of an average step, and the largest memory so far in bytes."""

    seconds: float
    num_bytes: int


def try_steps(cfg: RunConfig, dataset: ImageDataset, device: torch.device, macs: int) -> Trial:
    """Measures steps of a run. Writes no file except those of native operations that are not built yet.

    Args:
        cfg: Config of the run.
        dataset: Its images.
        device: Device that trains.
        macs: Multiply-adds of the forward pass of one image through G and D.

    Returns:
        The measurement.

    Raises:
        ConfigError: If a micro-batch does not fit into the memory of the GPU.
        DataError: If an image cannot be used.
    """
    size = _largest(cfg)
    most = size if device.type == 'cuda' else int(MAX_MACS / PASSES / macs)
    sizes = sizes_of(cfg, most)
    state = build(_with_batch(cfg, sizes[0]), dataset.spec, device)
    try:
        _measure(cfg, state, dataset, device, sizes[0])
        steps = [_measure(cfg, state, dataset, device, size) for size in sizes]
    except torch.cuda.OutOfMemoryError:
        there = format_bytes(torch.cuda.get_device_properties(device).total_memory)
        raise ConfigError(
            f'--batch-gpu={size}: a step does not fit into the {there} of this GPU; {fewer_images(cfg)}'
        ) from None
    first, last = steps[0], steps[-1]
    more = sizes[-1] - sizes[0] or 1  # without a second size both slopes are 0
    seconds = last.seconds + (size - sizes[-1]) * max(last.seconds - first.seconds, 0) / more
    num_bytes = last.num_bytes + (size - sizes[-1]) * (last.num_bytes - first.num_bytes) // more
    return Trial(sec_per_kimg=1000 * seconds / (cfg.gpus * size), num_bytes=num_bytes, sizes=sizes)


def sizes_of(cfg: RunConfig, most: int) -> tuple[int, ...]:
    """Returns the sizes of the steps to measure: the micro-batch of the run, or two smaller sizes.

    Args:
        cfg: Config of the run.
        most: Images that all steps may have together.
    """
    size = _largest(cfg)
    if 2 * size <= most or size < 3:
        return (size,)
    allowed = (n for n in range(size // 2, 0, -1) if 4 * n <= most and _divides(cfg, n, 2 * n))
    small = next(allowed, 1)
    return (small, 2 * small)


def fewer_images(cfg: RunConfig) -> str:
    """Returns the way out for a micro-batch that is too large: the next smaller one that the config accepts."""
    share = cfg.batch // cfg.gpus
    fits = [n for n in range(1, _largest(cfg) // 2 + 1) if share % n == 0 and _divides(cfg, n)]
    if not fits:
        return '--cbase and --cmax make the networks smaller, --resolution the images'
    own = ('--g-batch-gpu', cfg.g_batch_gpu), ('--d-batch-gpu', cfg.d_batch_gpu)
    flags = [flag for flag, size in own if size is not None] or ['--batch-gpu']
    return f'{" ".join(f"{flag}={fits[-1]}" for flag in flags)} accumulates the same batch in smaller parts'


def _largest(cfg: RunConfig) -> int:
    """Returns the size of the larger micro-batch, of G or of D: the steps of a trial have one size for both."""
    return max(cfg.micro_size('G'), cfg.micro_size('D'))


def _divides(cfg: RunConfig, *sizes: int) -> bool:
    """Returns whether the minibatch standard deviation accepts micro-batches of these sizes."""
    group = getattr(cfg.discriminator, 'mbstd_group', 1)
    return all(size % min(group or size, size) == 0 for size in sizes)


def _with_batch(cfg: RunConfig, size: int) -> RunConfig:
    return replace(cfg, gpus=1, batch=size, batch_gpu=size, g_batch_gpu=None, d_batch_gpu=None)


def _measure(cfg: RunConfig, state: TrainState, dataset: ImageDataset, device: torch.device, size: int) -> _Measured:
    """Runs one step on the first images, with all phases.

    Args:
        cfg: Config of the run.
        state: State that is trained.
        dataset: The images.
        device: Device that trains.
        size: Images of the step.
    """
    indices = [i % len(dataset) for i in range(size)]
    img = torch.from_numpy(np.stack([dataset.image(i) for i in indices]))  # [B, C, H, W]
    c = torch.from_numpy(dataset.labels(indices))  # [B, label_dim]
    step = TrainStep(_with_batch(cfg, size), state, dataset, device)
    state.step = 0  # all phases are due
    step(img, c)
    interval = {phase.name: phase.interval for phase in step.phases} | {'ema': cfg.n_critic}
    seconds = sum(total / interval[name] for name, (_, total) in step.timer.read().items())
    return _Measured(seconds=seconds, num_bytes=_peak_bytes(device))


def _peak_bytes(device: torch.device) -> int:
    """Returns the largest memory so far: of tensors on a GPU, of this process on a CPU."""
    if device.type == 'cuda':
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
