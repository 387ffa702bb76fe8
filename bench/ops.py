"""Milliseconds of every registered operation, forward and with backward, compared with its reference and a copy.

    python bench/ops.py --threads 2 --repeat 9
    python bench/ops.py --device cuda --only bias_act --only upfirdn2d --records ops.jsonl

Letters in shapes: N batch, C channels, H and W height and width.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.files import append_line
from torch_utils.allocator import keep_freed_memory
from torch_utils.devices import pick_device, prepare
from torch_utils.ops.registry import OPS, Op, Sample

SHAPES = {  # [N, C, H, W]
    'cpu': ([16, 256, 16, 16], [16, 128, 32, 32], [8, 64, 64, 64], [4, 64, 256, 256]),
    'cuda': ([32, 512, 64, 64], [32, 128, 256, 256], [8, 32, 1024, 1024]),  # several times the L2 cache
}
FORMATS = {'NCHW': torch.contiguous_format, 'NHWC': torch.channels_last}
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}
CALLS = 10  # calls of a GPU that one timing covers, so that it never waits for Python


def milliseconds(run: Callable[[], object], repeat: int, device: torch.device) -> float:
    """Returns the median of `repeat` timings after one to warm up; on a GPU by its own clock, each of ten calls."""
    measure_once = gpu_milliseconds if device.type == 'cuda' else cpu_milliseconds
    return statistics.median([measure_once(run) for _ in range(repeat + 1)][1:])


def cpu_milliseconds(run: Callable[[], object]) -> float:
    """Returns the time of one call."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def gpu_milliseconds(run: Callable[[], object]) -> float:
    """Returns the time of one call among `CALLS` in a row, by events on the current stream."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(CALLS):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / CALLS


def measure(run: Callable[..., torch.Tensor], inputs: list[torch.Tensor], repeat: int) -> tuple[float, float]:
    """Measures a function forward, and forward with backward; both build the graph.

    Args:
        run: The function; it returns one tensor.
        inputs: Its arguments, which require a gradient.
        repeat: Number of timings.

    Returns:
        Milliseconds of (forward, forward and backward).
    """
    dy = torch.randn_like(run(*inputs))
    forward = milliseconds(lambda: run(*inputs), repeat, dy.device)
    both = milliseconds(lambda: torch.autograd.grad(run(*inputs), inputs, dy), repeat, dy.device)
    return forward, both


def copy_speed(x: torch.Tensor, repeat: int) -> float:
    """Returns the bytes read and written per millisecond by a copy into memory that was written before."""
    target = torch.empty_like(x)
    return 2 * x.nbytes / milliseconds(lambda: target.copy_(x), repeat, x.device)


def leaves(sample: Sample, memory_format: torch.memory_format) -> list[torch.Tensor]:
    """Returns a sample's inputs as tensors that require a gradient; the first, the feature map, in a memory format."""
    x, *others = (t.detach().clone() for t in sample.inputs.values())
    return [t.requires_grad_() for t in (x.contiguous(memory_format=memory_format), *others)]


def print_row(op: Op, sample: Sample, copies: dict[str, float], repeat: int) -> dict[str, Any]:
    """Prints one operation: the reference in NCHW, and the fast form in both memory formats. Returns the numbers.

    Args:
        op: The operation.
        sample: Its arguments.
        copies: Bytes per millisecond of a warm copy, by memory format.
        repeat: Number of timings.
    """
    ref = measure(op.bind(sample, reference=True), leaves(sample, torch.contiguous_format), repeat)
    cells = f'{op.name + " " + sample.name:42}{ref[0]:9.2f}{ref[1]:9.2f}'
    numbers: dict[str, Any] = {'op': op.name, 'workload': sample.name, 'ref_ms': ref}
    for fmt, memory_format in FORMATS.items():
        run, inputs = op.bind(sample), leaves(sample, memory_format)
        forward, both = measure(run, inputs, repeat)
        share = (inputs[0].nbytes + run(*inputs).nbytes) / forward / copies[fmt]
        cells += f'{forward:9.2f}{both:9.2f}{ref[0] / forward:7.1f}{ref[1] / both:6.1f}{share:7.2f}'
        numbers[fmt] = {'ms': (forward, both), 'copy': share}
    print(cells, flush=True)
    return numbers


def print_table(
    ops: list[Op], shape: list[int], dtype: str, repeat: int, device: torch.device, records: str | None = None
) -> None:
    """Prints a row per operation and workload.

    `copy` is the bytes per second of the forward pass, feature map read and result written, relative to a warm copy.

    Args:
        ops: The operations.
        shape: Shape of the feature map, [N, C, H, W].
        dtype: Name of the dtype, a key of `DTYPES`.
        repeat: Number of timings.
        device: Device to measure on.
        records: File that receives a line of JSON per row; None: no file.
    """
    print(f'\nx {shape} {dtype}, ms: forward, forward and backward; times faster than the reference')
    print(f'{"":42}{"ref NCHW":>18}' + ''.join(f'{fmt:>18}{"faster":>13}{"copy":>7}' for fmt in FORMATS))
    plain = torch.randn(shape, device=device).to(DTYPES[dtype])
    copies = {fmt: copy_speed(plain.contiguous(memory_format=memory), repeat) for fmt, memory in FORMATS.items()}
    for op in ops:
        for sample in op.workloads(shape, device, DTYPES[dtype]) if op.workloads is not None else ():
            numbers = {'bench': 'ops', 'shape': shape, 'dtype': dtype, **print_row(op, sample, copies, repeat)}
            if records is not None:
                append_line(Path(records), json.dumps(numbers))


@click.command()
@click.option('--threads', type=int, default=2, show_default=True, help='CPU threads.')
@click.option('--repeat', type=int, default=7, show_default=True, help='Calls to take the median of.')
@click.option('--device', default='cpu', show_default=True, help='cpu or cuda.')
@click.option('--only', multiple=True, metavar='NAME', help='Name of an operation; may be repeated. Default: all.')
@click.option('--records', metavar='FILE', help='Also append a line of JSON per row to this file.')
def main(threads: int, repeat: int, device: str, only: tuple[str, ...], records: str | None) -> None:
    """Prints a table per shape and dtype, with a row per operation and workload."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    where = pick_device(device)
    prepare(where)
    if where.type == 'cuda':
        print(torch.cuda.get_device_name(where))
    OPS.load_all()
    ops = [OPS.get(name) for name in only or sorted(OPS.names())]
    for shape in SHAPES[where.type]:
        for dtype in DTYPES:
            print_table(ops, shape, dtype, repeat, where, records)


if __name__ == '__main__':
    run_command(main)
