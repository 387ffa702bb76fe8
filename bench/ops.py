"""Milliseconds of each operation, forward and forward with backward: the kernels beside the reference and a warm copy.

    python bench/ops.py --threads 2 --repeat 9
    python bench/ops.py --device cuda --only kernels

Letters in shapes: N batch, C channels, H and W height and width.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from torch_utils.allocator import keep_freed_memory
from torch_utils.ops import dispatch
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.modulated_conv2d import modulated_conv2d
from torch_utils.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upsample2d

Op = Callable[[torch.Tensor], torch.Tensor]

KERNEL_SHAPES = {  # [N, C, H, W]
    'cpu': ([16, 128, 32, 32], [8, 64, 64, 64], [4, 64, 256, 256]),
    'cuda': ([32, 512, 64, 64], [32, 128, 256, 256], [8, 32, 1024, 1024]),  # several times the L2 cache
}
SHAPES = ([16, 128, 32, 32], [8, 64, 64, 64], [16, 256, 16, 16])  # [N, C, H, W]
FORMATS = {'NCHW': torch.contiguous_format, 'NHWC': torch.channels_last}
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}
CALLS = 10  # that a GPU is timed over, so that it never waits for Python


def kernels(shape: list[int], device: torch.device) -> tuple[dict[str, Op], list[torch.Tensor]]:
    """The operations that have kernels, as functions of x [N, C, H, W], and what else they differentiate."""
    f = setup_filter([1, 3, 3, 1]).to(device)
    bias = torch.zeros(shape[1], device=device, requires_grad=True)
    ops: dict[str, Op] = {
        'bias_act lrelu clamp': lambda x: bias_act(x, bias, act='lrelu', clamp=256),
        'filter2d': lambda x: filter2d(x, f),
        'upsample2d': lambda x: upsample2d(x, f),
        'downsample2d': lambda x: downsample2d(x, f),
    }
    return ops, [bias]


def network_operations(
    shape: list[int], dtype: torch.dtype, device: torch.device
) -> tuple[dict[str, Op], list[torch.Tensor]]:
    """The convolutions with what belongs to them, likewise."""
    n, c, h, w = shape
    f = setup_filter([1, 3, 3, 1]).to(device)
    weight = torch.randn(c, c, 3, 3, device=device, requires_grad=True)
    to_rgb = torch.randn(3, c, 1, 1, device=device, requires_grad=True)
    styles = torch.randn(n, c, device=device, requires_grad=True)
    noise = torch.randn(n, 1, h, w, device=device)

    def conv(**args: int) -> Op:
        return lambda x: conv2d_resample(x, weight.to(dtype), f, padding=1, **args)

    ops: dict[str, Op] = {
        'conv2d 3x3': conv(),
        'conv2d 3x3 up 2': conv(up=2),
        'conv2d 3x3 down 2': conv(down=2),
        'modulated_conv2d 3x3': lambda x: modulated_conv2d(x, weight, styles, noise, padding=1),
        'modulated_conv2d 3x3 up 2': lambda x: modulated_conv2d(x, weight, styles, up=2, padding=1, resample_filter=f),
        'modulated_conv2d 1x1 to RGB': lambda x: modulated_conv2d(x, to_rgb, styles, demodulate=False),
    }
    return ops, [weight, to_rgb, styles]


def milliseconds(run: Callable[[], object], repeat: int, device: torch.device) -> float:
    """The median of `repeat` calls, after one to warm up; on a GPU by its own clock, of `repeat` times ten calls."""
    measure_once = gpu_milliseconds if device.type == 'cuda' else cpu_milliseconds
    return statistics.median([measure_once(run) for _ in range(repeat + 1)][1:])


def cpu_milliseconds(run: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def gpu_milliseconds(run: Callable[[], object]) -> float:
    """Of one call among `CALLS` in a row, by events on the current stream."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(CALLS):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / CALLS


def measure(op: Op, x: torch.Tensor, others: list[torch.Tensor], repeat: int) -> tuple[float, float]:
    """(forward, forward and backward) in milliseconds; the first builds the graph, too."""
    y = op(x)
    dy = torch.randn_like(y)
    del y
    forward = milliseconds(lambda: op(x), repeat, x.device)
    both = milliseconds(lambda: torch.autograd.grad(op(x), [x, *others], dy, allow_unused=True), repeat, x.device)
    return forward, both


def copy_speed(x: torch.Tensor, repeat: int) -> float:
    """Bytes read and written per millisecond by a copy into memory that was written before."""
    target = torch.empty_like(x)
    return 2 * x.nbytes / milliseconds(lambda: target.copy_(x), repeat, x.device)


def print_kernels(shape: list[int], dtype: str, repeat: int, device: torch.device) -> None:
    """A row an operation: the reference in NCHW, and the kernel in both formats, as often as fast as the reference.

    `copy` is the bytes per second of the forward kernel, input read and result written, in parts of a warm copy's.
    """
    print(f'\nx {shape} {dtype}, ms: forward, forward and backward; times faster than the reference')
    print(f'{"":22}{"ref NCHW":>17}' + ''.join(f'{fmt:>17}{"faster":>14}{"copy":>7}' for fmt in FORMATS))
    ops, others = kernels(shape, device)
    plain = torch.randn(shape, device=device).to(DTYPES[dtype])
    images = {fmt: plain.contiguous(memory_format=memory) for fmt, memory in FORMATS.items()}
    copies = {fmt: copy_speed(x, repeat) for fmt, x in images.items()}
    for name, op in ops.items():
        with dispatch.default('ref'):
            ref = measure(op, plain.requires_grad_(), others, repeat)
        cells = f'{name:22}{ref[0]:9.2f}{ref[1]:8.2f}'
        for fmt, x in images.items():
            forward, both = measure(op, x.requires_grad_(), others, repeat)
            share = (x.nbytes + op(x).nbytes) / forward / copies[fmt]
            cells += f'{forward:9.2f}{both:8.2f}{ref[0] / forward:8.1f}{ref[1] / both:6.1f}{share:7.2f}'
        print(cells)


def print_network_operations(shape: list[int], repeat: int, device: torch.device) -> None:
    """A row an operation, a column a dtype and memory format: forward / forward and backward."""
    columns = [(dtype, fmt) for dtype in DTYPES for fmt in FORMATS]
    print(f'\nx {shape}, ms: forward / forward and backward')
    print(f'{"":28}' + ''.join(f'{dtype + " " + fmt:>18}' for dtype, fmt in columns))
    rows: dict[str, list[str]] = {}
    for dtype, fmt in columns:
        x = torch.randn(shape, device=device).to(dtype=DTYPES[dtype], memory_format=FORMATS[fmt]).requires_grad_()
        ops, others = network_operations(shape, DTYPES[dtype], device)
        for name, op in ops.items():
            forward, both = measure(op, x, others, repeat)
            rows.setdefault(name, []).append(f'{forward:.2f} / {both:.2f}')
    for name, cells in rows.items():
        print(f'{name:28}' + ''.join(f'{cell:>18}' for cell in cells))


@click.command()
@click.option('--threads', type=int, default=2, show_default=True, help='CPU threads.')
@click.option('--repeat', type=int, default=7, show_default=True, help='Calls to take the median of.')
@click.option('--device', default='cpu', show_default=True, help='cpu or cuda.')
@click.option('--only', type=click.Choice(['kernels', 'networks']), help='One of the two parts.')
def main(threads: int, repeat: int, device: str, only: str | None) -> None:
    """Prints a table a shape and dtype for the operations with kernels, and one a shape for the convolutions."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    where = torch.device(device)
    if where.type == 'cuda':
        print(torch.cuda.get_device_name(where))
    for shape in KERNEL_SHAPES[where.type] if only != 'networks' else ():
        for dtype in DTYPES:
            print_kernels(shape, dtype, repeat, where)
    for shape in SHAPES if only != 'kernels' else ():
        print_network_operations(shape, repeat, where)


if __name__ == '__main__':
    main()
