"""Milliseconds of each operation, forward and forward with backward, beside a copy of its input.

    python bench/ops.py --threads 2 --repeat 9

Letters in shapes: N batch, C channels, H and W height and width.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from torch_utils.allocator import keep_freed_memory
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.modulated_conv2d import modulated_conv2d
from torch_utils.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upsample2d

Op = Callable[[torch.Tensor], torch.Tensor]

SHAPES = ([16, 128, 32, 32], [8, 64, 64, 64], [16, 256, 16, 16])  # [N, C, H, W]
FORMATS = {'NCHW': torch.contiguous_format, 'NHWC': torch.channels_last}
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}


def operations(shape: list[int], dtype: torch.dtype, device: torch.device) -> tuple[dict[str, Op], list[torch.Tensor]]:
    """The operations by name, as functions of x [N, C, H, W], and the other tensors that they differentiate."""
    n, c, h, w = shape
    f = setup_filter([1, 3, 3, 1]).to(device)
    weight = torch.randn(c, c, 3, 3, device=device, requires_grad=True)
    to_rgb = torch.randn(3, c, 1, 1, device=device, requires_grad=True)
    styles = torch.randn(n, c, device=device, requires_grad=True)
    bias = torch.zeros(c, device=device, requires_grad=True)
    noise = torch.randn(n, 1, h, w, device=device)

    def conv(**args: int) -> Op:
        return lambda x: conv2d_resample(x, weight.to(dtype), f, padding=1, **args)

    ops: dict[str, Op] = {
        'bias_act lrelu': lambda x: bias_act(x, bias, act='lrelu', gain=1),
        'bias_act lrelu gain clamp': lambda x: bias_act(x, bias, act='lrelu', clamp=256),
        'filter2d': lambda x: filter2d(x, f),
        'upsample2d': lambda x: upsample2d(x, f),
        'downsample2d': lambda x: downsample2d(x, f),
        'conv2d 3x3': conv(),
        'conv2d 3x3 up 2': conv(up=2),
        'conv2d 3x3 down 2': conv(down=2),
        'modulated_conv2d 3x3': lambda x: modulated_conv2d(x, weight, styles, noise, padding=1),
        'modulated_conv2d 3x3 up 2': lambda x: modulated_conv2d(x, weight, styles, up=2, padding=1, resample_filter=f),
        'modulated_conv2d 1x1 to RGB': lambda x: modulated_conv2d(x, to_rgb, styles, demodulate=False),
    }
    return ops, [weight, to_rgb, styles, bias]


def milliseconds(run: Callable[[], object], repeat: int, device: torch.device) -> float:
    """The fastest of `repeat` calls, after one to warm up."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        run()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:]) * 1e3


def measure(op: Op, x: torch.Tensor, others: list[torch.Tensor], repeat: int) -> tuple[float, float]:
    """(forward, forward and backward) in milliseconds; the first builds the graph, too."""
    y = op(x)
    dy = torch.randn_like(y)
    del y
    forward = milliseconds(lambda: op(x), repeat, x.device)
    both = milliseconds(lambda: torch.autograd.grad(op(x), [x, *others], dy, allow_unused=True), repeat, x.device)
    return forward, both


@click.command()
@click.option('--threads', type=int, default=2, show_default=True, help='CPU threads.')
@click.option('--repeat', type=int, default=7, show_default=True, help='Calls to take the fastest of.')
@click.option('--device', default='cpu', show_default=True, help='cpu or cuda.')
def main(threads: int, repeat: int, device: str) -> None:
    """Prints one table: a row an operation, two columns a dtype and memory format."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    where = torch.device(device)
    columns = [(dtype, fmt) for dtype in DTYPES for fmt in FORMATS]
    for shape in SHAPES:
        print(f'\nx {shape}, ms: forward / forward and backward')
        print(f'{"":28}' + ''.join(f'{dtype + " " + fmt:>18}' for dtype, fmt in columns))
        rows: dict[str, list[str]] = {}
        for dtype, fmt in columns:
            x = torch.randn(shape, device=where).to(dtype=DTYPES[dtype], memory_format=FORMATS[fmt])
            rows.setdefault('copy', []).append(f'{milliseconds(x.clone, repeat, where):.2f}')
            ops, others = operations(shape, DTYPES[dtype], where)
            x.requires_grad_()
            for name, op in ops.items():
                forward, both = measure(op, x, others, repeat)
                rows.setdefault(name, []).append(f'{forward:.2f} / {both:.2f}')
        for name, cells in rows.items():
            print(f'{name:28}' + ''.join(f'{cell:>18}' for cell in cells))


if __name__ == '__main__':
    main()
