"""Seconds per kimg of a whole training step and its parts: forward, backward and optimizer of each phase.

python bench/train_step.py --cfg=auto --resolution=64 --batch=16 --precision=bf16,fp32
python bench/train_step.py --device=cuda --resolution=256 --precision=bf16 --tf32=0 --records=steps.jsonl

Phases are measured one by one and then weighted by their intervals, as training runs them. "busy" is the share of the
machine's own peak that the networks' multiplications reach: the peak is a 3x3 convolution, channels last, measured in
the same run. "host" is the time until Python has launched the last kernel of a phase: on a GPU, a phase that takes
hardly longer waits for the host. --clock=cpu counts the seconds that the process computes, which other processes
disturb less. It adds those of all threads: set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import click
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from dnnlib.command import run_command
from dnnlib.files import append_line
from torch_utils.allocator import keep_freed_memory
from torch_utils.devices import pick_device, prepare
from torch_utils.ops import dispatch, modulated_conv2d
from training.build import DTYPES, build, tf32_by_default
from training.config import apply_overrides, with_precision
from training.interface import ImageSpec
from training.registry import RECIPES
from training.step import Phase, TrainStep

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {'wall': time.perf_counter, 'cpu': time.process_time}


def make_step(
    cfg_name: str, resolution: int, batch: int, precision: str, sets: dict[str, str], device: torch.device
) -> TrainStep:
    """Returns a training step for images without labels; the step receives random images."""
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=10_000)
    cfg = with_precision(RECIPES.get(cfg_name).make(spec, 1), precision)
    cfg = apply_overrides(cfg, {'batch': batch, **sets})
    return TrainStep(cfg, build(cfg, spec, device), SimpleNamespace(spec=spec), device)


def conv_peak(dtype: torch.dtype, device: torch.device, clock: Clock) -> float:
    """Returns the FLOP/s of a 3x3 convolution of 128 channels, channels last.

    Args:
        dtype: Dtype of the convolution.
        device: Device that it runs on.
        clock: Clock in seconds.
    """
    x = torch.randn(16, 128, 32, 32, device=device).to(dtype).to(memory_format=torch.channels_last)
    w = torch.randn(128, 128, 3, 3, device=device).to(dtype).to(memory_format=torch.channels_last)
    # The best of several medians: the peak of the undisturbed machine.
    medians = [median_seconds(lambda: torch.nn.functional.conv2d(x, w, padding=1), 20, device, clock) for _ in range(5)]
    seconds = min(median for median, _ in medians)
    return 2 * x.numel() * 128 * 9 / seconds


def median_seconds(run, repeats: int, device: torch.device, clock: Clock) -> tuple[float, float]:
    """Returns the median time of a function after one call to warm up, and the median until it returns to the host.

    Args:
        run: The function.
        repeats: Number of calls.
        device: Device that it runs on.
        clock: Clock in seconds.
    """
    times, host_times = [], []
    for _ in range(repeats + 1):
        began = clock()
        run()
        host_times.append(clock() - began)
        if device.type == 'cuda':
            torch.cuda.synchronize()
        times.append(clock() - began)
    return statistics.median(times[1:]), statistics.median(host_times[1:])


def weight_gradient_flops(dy: torch.Tensor, x: torch.Tensor, kernel: Sequence[int], *rest: object) -> int:
    """Returns the operations of the project's own kernel for the gradient of a convolution's weight."""
    return 2 * dy.numel() * x.shape[1] * kernel[0] * kernel[1]


class FlopCounter(TorchDispatchMode):
    """Sum of the operations of every convolution and matrix product. (FlopCounterMode cannot see autograd.grad.)"""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if str(func.overloadpacket) == 'ganfoundry.conv2d_weight_gradient':
            self.total += weight_gradient_flops(*args)
        elif (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def phase_flops(step: TrainStep, phase: Phase, micros: list) -> int:
    """Returns the floating-point operations of one execution of a phase, first and second order.

    Args:
        step: The training step.
        phase: The phase.
        micros: Its micro-batches.
    """
    with FlopCounter() as counter:
        step.run_phase(phase, micros)
    return counter.total


def measure(step: TrainStep, repeats: int, clock: Clock) -> list[tuple[str, int, float, float, int]]:
    """Returns (phase, interval, seconds, seconds of the host, FLOPs) of each phase.

    Args:
        step: The training step.
        repeats: Number of executions of each phase.
        clock: Clock in seconds.
    """
    cfg, spec = step.cfg, step.dataset.spec
    img = torch.randint(0, 256, [cfg.batch, spec.channels, spec.resolution, spec.resolution], dtype=torch.uint8)
    micros = step.split(img, torch.zeros([cfg.batch, 0]))
    rows = []
    for phase in step.phases:
        seconds, host = median_seconds(lambda phase=phase: step.run_phase(phase, micros), repeats, step.device, clock)
        rows.append((phase.name, phase.interval, seconds, host, phase_flops(step, phase, micros)))
    return rows


def print_rows(precision: str, batch: int, rows: list[tuple[str, int, float, float, int]], peak: float) -> None:
    """Prints the table of one precision.

    Args:
        precision: Precision of the lowered blocks.
        batch: Images of a step.
        rows: As `measure` returns them.
        peak: FLOP/s of the machine.
    """
    total = sum(seconds / interval for _, interval, seconds, _, _ in rows)
    flops = sum(count / interval for _, interval, _, _, count in rows)
    print(f'\n{precision}: {total / batch * 1000:.2f} s/kimg, {flops / total / peak:.0%} of {peak / 1e9:.0f} GFLOP/s')
    print(f'{"phase":8s} {"every":>5s} {"seconds":>8s} {"host":>8s} {"GFLOP":>8s} {"busy":>5s} {"share":>6s}')
    for phase, interval, seconds, host, count in rows:
        cells = f'{phase:8s} {interval:5d} {seconds:8.3f} {host:8.3f} {count / 1e9:8.1f} {count / seconds / peak:5.0%}'
        print(f'{cells} {seconds / interval / total:6.1%}', flush=True)


def write_record(path: str, facts: dict, rows: list[tuple[str, int, float, float, int]], peak: float) -> None:
    """Appends one line of JSON.

    Args:
        path: The file.
        facts: Settings of the measurement.
        rows: As `measure` returns them.
        peak: FLOP/s of the machine.
    """
    keys = ('phase', 'interval', 'sec', 'host_sec', 'flop')
    record = {**facts, 'peak_flops': peak, 'phases': [dict(zip(keys, row, strict=True)) for row in rows]}
    append_line(pathlib.Path(path), json.dumps(record))


@click.command()
@click.option('--cfg', default='auto', show_default=True)
@click.option('--resolution', default=64, show_default=True)
@click.option('--batch', default=16, show_default=True)
@click.option('--precision', default='bf16,fp32', show_default=True)
@click.option('--set', 'sets', multiple=True, metavar='A.B=C')
@click.option('--impl', default='auto', show_default=True, help='auto or ref: which operations run.')
@click.option('--tf32', type=bool, help='Whether float32 is TF32 on a GPU.  [default: as training]')
@click.option('--by-sample', type=bool, help='Whether 1x1 kernels are built per sample.  [default: as training]')
@click.option('--repeats', default=3, show_default=True)
@click.option('--records', metavar='FILE', help='Also append one line of JSON per precision to this file.')
@click.option('--clock', default='wall', show_default=True, type=click.Choice([*CLOCKS]))
@click.option('--device')
def main(
    cfg: str,
    resolution: int,
    batch: int,
    precision: str,
    sets: tuple[str, ...],
    impl: str,
    tf32: bool | None,
    by_sample: bool | None,
    repeats: int,
    records: str | None,
    clock: str,
    device: str | None,
) -> None:
    """Times a training step by phases."""
    keep_freed_memory()
    dispatch.set_default(impl)
    if by_sample is not None:
        modulated_conv2d.prefers_kernels = lambda x, weight: by_sample
    where = pick_device(device)
    name = torch.cuda.get_device_name(where) if where.type == 'cuda' else 'cpu'
    machine = f'{name}, {torch.get_num_threads()} threads, operations {impl}, {clock} time'
    print(f'--cfg={cfg} at {resolution}x{resolution}, batch {batch}, {machine}')
    for kind in precision.split(','):
        allow_tf32 = tf32_by_default(kind, where) if tf32 is None else tf32
        prepare(where, benchmark=True, allow_tf32=allow_tf32)
        step = make_step(cfg, resolution, batch, kind, dict(item.split('=', 1) for item in sets), where)
        peak = conv_peak(DTYPES[kind], where, CLOCKS[clock])
        rows = measure(step, repeats, CLOCKS[clock])
        print_rows(f'{kind}, TF32' if allow_tf32 else kind, batch, rows, peak)
        if records is not None:
            facts = {'bench': 'train_step', 'device': name, 'cfg': cfg, 'resolution': resolution, 'batch': batch}
            facts |= {'precision': kind, 'tf32': allow_tf32, 'by_sample': by_sample, 'impl': impl}
            write_record(records, facts, rows, peak)


if __name__ == '__main__':
    run_command(main)
