"""Milliseconds of the steps around the convolutions: fused, by single native operations, and by the reference.

    python bench/epilogue.py --threads 2 --repeat 9

Everything is channels last, as in the networks. Letters in shapes: N batch, C channels, H and W height and width.
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

from dnnlib.command import run_command
from torch_utils.allocator import keep_freed_memory
from torch_utils.ops.act_fir import act_fir
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.epilogue import synthesis_epilogue
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d

SHAPES = ([16, 128, 32, 32], [16, 16, 64, 64], [8, 64, 64, 64], [4, 64, 128, 128], [4, 64, 256, 256])  # [N, C, H, W]
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}
FIR = setup_filter([1, 3, 3, 1])
WAYS = ('fused', 'one by one', 'ref')

Case = tuple[list[torch.Tensor], dict[str, Callable[[], torch.Tensor]]]  # what is differentiated; a way, its function


def image(n: int, c: int, h: int, w: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(n, c, h, w).to(dtype=dtype, memory_format=torch.channels_last).requires_grad_()


def synthesis(shape: list[int], dtype: torch.dtype, fir: bool) -> Case:
    """Returns the epilogue of a layer: filter, demodulation, noise, bias, lrelu, clamp.

    Args:
        shape: Shape of the result, [N, C, H, W].
        dtype: Dtype of the features.
        fir: Whether there is a filter.
    """
    n, c, h, w = shape
    x = image(n, c, h + fir, w + fir, dtype)
    d, noise, b = (t.requires_grad_() for t in (torch.rand(n, c) + 0.5, torch.randn(n, 1, h, w), torch.randn(c)))

    def whole(impl: str) -> torch.Tensor:
        f, padding = (FIR, [1] * 4) if fir else (None, [0] * 4)
        return synthesis_epilogue(x, f, padding, d, noise, b, 'lrelu', clamp=256, fir_gain=4, impl=impl)

    def one_by_one() -> torch.Tensor:
        y = upfirdn2d(x, FIR, padding=1, gain=4) if fir else x
        y = (y * d.to(dtype)[:, :, None, None]).add_(noise.to(dtype))
        return bias_act(y, b, act='lrelu', gain=1, clamp=256)

    ways = (lambda: whole('auto'), one_by_one, lambda: whole('ref'))
    return [x, d, noise, b], dict(zip(WAYS, ways, strict=True))


def discriminator(shape: list[int], dtype: torch.dtype) -> Case:
    """Returns the activation, and the filter before a strided convolution, of features `shape`."""
    x, b = image(*shape, dtype), torch.randn(shape[1]).requires_grad_()

    def whole(impl: str) -> torch.Tensor:
        return act_fir(x, b, FIR, [2] * 4, 'lrelu', clamp=256, impl=impl)

    def one_by_one() -> torch.Tensor:
        return upfirdn2d(bias_act(x, b, act='lrelu', gain=1, clamp=256), FIR, padding=2)

    ways = (lambda: whole('auto'), one_by_one, lambda: whole('ref'))
    return [x, b], dict(zip(WAYS, ways, strict=True))


def milliseconds(runs: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Returns the median of `repeat` calls of each function, in turn, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds[1:]) * 1e3 for name, seconds in times.items()}


def cells(case: Case, repeat: int) -> str:
    """Returns a row: milliseconds of each form, forward and with backward, and the relative speed of the fused form."""
    inputs, ways = case
    dy = torch.randn_like(ways['fused']())
    both = {name: lambda way=way: torch.autograd.grad(way(), inputs, dy) for name, way in ways.items()}
    text = ''
    for runs in (ways, both):
        ms = milliseconds(runs, repeat)
        text += ''.join(f'{ms[name]:>11.2f}' for name in WAYS)
        text += ''.join(f'{ms[name] / ms["fused"]:>7.1f}' for name in WAYS[1:])
    return text


@click.command()
@click.option('--threads', type=int, default=2, show_default=True, help='CPU threads.')
@click.option('--repeat', type=int, default=9, show_default=True, help='Calls to take the median of.')
def main(threads: int, repeat: int) -> None:
    """Prints a table per shape and dtype: milliseconds, and the other forms as multiples of the fused one."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    for shape in SHAPES:
        for name, dtype in DTYPES.items():
            target, x = (image(*shape, dtype).detach() for _ in range(2))
            copy = milliseconds({'copy': lambda target=target, x=x: target.copy_(x)}, repeat)['copy']
            print(f'\nx {shape} {name}, ms: forward | forward and backward; a copy takes {copy:.2f}')
            print(' ' * 22 + (''.join(f'{way:>11}' for way in WAYS) + f'{"times":>14}') * 2)
            cases = {
                'synthesis with FIR': synthesis(shape, dtype, fir=True),
                'synthesis': synthesis(shape, dtype, fir=False),
                'discriminator': discriminator(shape, dtype),
            }
            for label, case in cases.items():
                print(f'{label:22}{cells(case, repeat)}')


if __name__ == '__main__':
    run_command(main)
