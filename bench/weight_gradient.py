"""Gradients of convolution weights in bfloat16: PyTorch's (oneDNN's) against the project's kernel for CPUs.

python bench/weight_gradient.py --threads=2

"busy" is the share of the machine's own peak, that of a 3x3 convolution of 128 channels, measured in the same run. The
difference is that of the two results, relative to their norm: both sum in float32 and round once. Features are channels
last. Letters: N batch, I and O input and output channels, H height and width.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from bench.train_step import conv_peak
from dnnlib.command import run_command
from torch_utils.allocator import keep_freed_memory
from torch_utils.ops import dispatch

# N, I, O, H, stride, kernel: layers of StyleGAN2 at 256 px and below, and of the demo.
LAYERS = (
    (4, 64, 64, 256, 1, 3), (4, 64, 128, 257, 2, 3), (8, 128, 128, 128, 1, 3), (8, 128, 256, 129, 2, 3),
    (16, 256, 256, 64, 1, 3), (16, 256, 512, 65, 2, 3), (16, 512, 512, 32, 1, 3), (2, 512, 512, 32, 1, 3),
    (16, 512, 512, 8, 1, 3), (4, 32, 32, 256, 1, 3), (16, 32, 32, 32, 1, 3), (16, 64, 64, 16, 1, 3),
    (16, 128, 128, 8, 1, 3), (4, 64, 128, 128, 1, 1),
)  # fmt: skip


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Returns the shortest time of a function, in seconds, after one call to warm up."""
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def row(layer: tuple[int, ...], peak: float, repeats: int) -> str:
    """Returns the line of a layer.

    Args:
        layer: As in LAYERS.
        peak: FLOP/s of the machine.
        repeats: Number of measurements.
    """
    n, i, o, h, stride, k = layer
    last = torch.channels_last
    x = torch.randn(n, i, h, h).to(torch.bfloat16, memory_format=last)
    w = torch.randn(o, i, k, k).to(torch.bfloat16, memory_format=last)
    pad = k // 2 if stride == 1 else 0
    dy = torch.randn_like(F.conv2d(x, w, stride=stride, padding=pad))
    steps, pads, mask = [stride, stride], [pad, pad], [False, True, False]

    def given() -> torch.Tensor:
        return torch.ops.aten.convolution_backward(dy, x, w, None, steps, pads, [1, 1], False, [0, 0], 1, mask)[1]

    def own() -> torch.Tensor:
        return torch.ops.ganfoundry.conv2d_weight_gradient(dy, x, [k, k], steps, pads)

    a, b = given().float(), own().float()
    flops = 2 * dy.numel() * i * k * k
    before, after = seconds(given, repeats), seconds(own, repeats)
    shape = f'{n} x {i} @ {h}, {k}x{k} to {o}' + (', stride 2' if stride == 2 else '')
    cells = (f'{flops / t / peak:5.0%} busy {t * 1000:7.2f} ms' for t in (before, after))
    return f'{shape:34s} ' + '   '.join(cells) + f'   {before / after:5.2f}   {float((a - b).norm() / a.norm()):.0e}'


@click.command()
@click.option('--threads', default=2, show_default=True)
@click.option('--repeats', default=5, show_default=True)
def main(threads: int, repeats: int) -> None:
    """Prints the table."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    dispatch.pick('cpu', torch.zeros(1))  # loads the operations, or says why there are none
    peak = conv_peak(torch.bfloat16, torch.device('cpu'), time.perf_counter)
    print(f'{threads} threads, convolution peak {peak / 1e9:.0f} GFLOP/s')
    print(f'{"layer":34s} {"PyTorch":>21s}   {"own kernel":>21s}   faster   difference')
    for layer in LAYERS:
        print(row(layer, peak, repeats), flush=True)


if __name__ == '__main__':
    run_command(main)
