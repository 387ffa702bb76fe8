"""Milliseconds of involution in the networks: by unfolding, by the reference, and by the kernels.

    python bench/involution.py --threads 2 --repeat 9

Letters in shapes: N batch, C channels, G groups, K side of the kernel, H and W height and width.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from torch_utils.allocator import keep_freed_memory
from torch_utils.ops.involution import involution

Op = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

GROUP_CHANNELS = 16
# N, C, H = W, K: layers of GIU-GANs on CIFAR-10, on CelebA, with the large kernel, and at 256 pixels.
SHAPES = (
    (64, 256, 4, 3), (64, 128, 8, 3), (64, 64, 16, 3), (64, 512, 4, 3), (64, 256, 8, 3), (64, 64, 32, 3),
    (64, 256, 4, 7), (8, 256, 32, 3), (8, 256, 32, 7),
)  # fmt: skip
IMPLS: dict[str, Op] = {
    'unfold': lambda x, w: by_unfolding(x, w),
    'ref': lambda x, w: involution(x, w, 'ref'),
    'native': lambda x, w: involution(x, w, x.device.type),
}
ORDERS = ('forward', 'and backward', 'second order')


def by_unfolding(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Returns involution without an operation of its own: K * K copies of x, weighted and summed."""
    n, c, h, w = x.shape
    num_groups, num_taps = weight.shape[1:3]
    side = round(num_taps**0.5)
    neighbors = F.unfold(x, side, padding=side // 2).view(n, num_groups, c // num_groups, num_taps, h, w)
    return (neighbors * weight.unsqueeze(2)).sum(3).view(n, c, h, w)


def gradients(op: Op, x: torch.Tensor, weight: torch.Tensor) -> None:
    """Runs one step through the operation, forward and backward.

    Args:
        op: The operation.
        x: Features [N, C, H, W].
        weight: Weights [N, G, K * K, H, W].
    """
    y = op(x, weight)
    torch.autograd.grad(y, [x, weight], y.detach())


def second_order(op: Op, x: torch.Tensor, weight: torch.Tensor) -> None:
    """Runs the operations of a gradient penalty: forward, the gradient in x, and the gradients of its norm.

    Args:
        op: The operation.
        x: Features [N, C, H, W].
        weight: Weights [N, G, K * K, H, W].
    """
    y = op(x, weight)
    (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    torch.autograd.grad(dx.square().sum(), [x, weight])


def milliseconds(run: Callable[[], object], repeat: int, device: torch.device) -> float:
    """Returns the median time of a function after one call to warm up.

    Args:
        run: The function.
        repeat: Number of calls.
        device: Device that it runs on.
    """
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        run()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]) * 1e3


def print_shape(shape: tuple[int, int, int, int], dtype: torch.dtype, repeat: int, device: torch.device) -> None:
    """Prints a row: three times per implementation, and the speed of the kernels relative to the others.

    Args:
        shape: N, C, H = W and K.
        dtype: Dtype of the features.
        repeat: Number of calls.
        device: Device to measure on.
    """
    n, c, size, side = shape
    x = torch.randn(n, c, size, size, device=device).to(dtype).requires_grad_()
    weight = torch.randn(n, c // GROUP_CHANNELS, side**2, size, size, device=device).to(dtype).requires_grad_()
    times: dict[str, list[float]] = {}
    for name, op in IMPLS.items():
        runs = (lambda op=op: op(x, weight), lambda op=op: gradients(op, x, weight),
                lambda op=op: second_order(op, x, weight))  # fmt: skip
        times[name] = [milliseconds(run, repeat, device) for run in runs]
    cells = f'{f"{n} x {c} @ {size}, K {side}":20}'
    for order in range(len(ORDERS)):
        unfold, ref, native = (times[name][order] for name in IMPLS)
        cells += f'{unfold:10.2f}{ref:9.2f}{native:9.2f}{unfold / native:7.1f}{ref / native:6.1f}'
    print(cells, flush=True)


@click.command()
@click.option('--threads', type=int, default=2, show_default=True, help='CPU threads.')
@click.option('--repeat', type=int, default=7, show_default=True, help='Calls to take the median of.')
@click.option('--device', default='cpu', show_default=True, help='cpu or cuda.')
@click.option('--dtype', type=click.Choice(['float32', 'bfloat16']), default='float32', show_default=True)
def main(threads: int, repeat: int, device: str, dtype: str) -> None:
    """Prints a row per shape: milliseconds by unfolding, reference and kernels, for each order of gradient."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    print(f'{dtype}, ms; times faster than unfolding and than the reference')
    print(f'{"":20}' + ''.join(f'{order:>41}' for order in ORDERS))
    print(f'{"N x C @ H":20}' + f'{"unfold":>10}{"ref":>9}{"native":>9}{"faster":>13}' * len(ORDERS))
    for shape in SHAPES:
        print_shape(shape, getattr(torch, dtype), repeat, torch.device(device))


if __name__ == '__main__':
    run_command(main)
