"""Milliseconds of the papers' convolutions with a doubling or a pooling, plain and folded into one kernel.

    python bench/folded.py --threads=2 --batch=16

Forward with backward (image, weight and bias), channels last. The two forms take turns, so that a disturbance affects
both. The ratio is the plain time over the folded one: above 1, folding is faster. "rule" is the choice of `fold=None`:
`FOLD_FROM` in torch_utils/ops/folded_conv.py follows from these ratios. Lines "all" sum over a network.

Letters in shapes: I and O input and output channels, H height and width before the operation.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from torch_utils.allocator import keep_freed_memory
from torch_utils.ops.folded_conv import Op, down_conv2d, folds, up_conv2d

OPS: dict[Op, Callable[..., torch.Tensor]] = {'up': up_conv2d, 'down': down_conv2d}
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One convolution of a network."""

    op: Op
    i: int
    o: int
    h: int


def generator(*channels: int) -> list[Case]:
    """Returns the first convolution of each block from 4x4 up; `channels` before the first block and after each."""
    pairs = itertools.pairwise(channels)
    return [Case(op='up', i=i, o=o, h=4 << k) for k, (i, o) in enumerate(pairs)]


def discriminator(resolution: int, *channels: int) -> list[Case]:
    """Returns the second convolution of each block that halves; `channels` of those blocks, from the image down."""
    return [Case(op='down', i=c, o=c, h=resolution >> k) for k, c in enumerate(channels)]


# GConv tables 1 and 2, IF-GAN table 1. IF-GAN's discriminator is StyleGAN2's, which filters instead of pooling.
NETWORKS = {
    'gconv 32': [*generator(256, 256, 256, 256), *discriminator(32, 128, 128)],
    'gconv 128': [*generator(512, 512, 512, 256, 128, 64), *discriminator(128, 64, 128, 256, 512, 512)],
    'gconv 256': [*generator(512, 512, 512, 256, 128, 64, 32), *discriminator(256, 32, 64, 128, 256, 512, 512)],
    'ifgan 128': generator(512, 512, 512, 256, 128, 64),
}


def measure(case: Case, dtype: torch.dtype, batch: int, repeat: int, device: torch.device) -> tuple[float, float]:
    """Measures both forms, forward with backward, after one call of each to warm up.

    Args:
        case: The convolution.
        dtype: Dtype of the features.
        batch: Batch size, N.
        repeat: Number of calls.
        device: Device to measure on.

    Returns:
        Median milliseconds (plain, folded).
    """
    op = OPS[case.op]
    x = torch.randn(batch, case.i, case.h, case.h, device=device).to(dtype=dtype, memory_format=torch.channels_last)
    x.requires_grad_()
    weight = torch.randn(case.o, case.i, 3, 3, device=device, requires_grad=True)
    bias = torch.zeros(case.o, device=device, requires_grad=True)
    dy = torch.randn_like(op(x, weight, bias))
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(repeat + 1):
        for fold, milliseconds in times.items():
            start = time.perf_counter()
            torch.autograd.grad(op(x, weight, bias, fold=fold), [x, weight, bias], dy)
            if device.type == 'cuda':
                torch.cuda.synchronize(device)
            milliseconds.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[False][1:]), statistics.median(times[True][1:])


def print_row(name: str, cells: list[tuple[float, float]], rule: str) -> None:
    """Prints a line: plain, folded and their ratio for each dtype, and the choice of the rule.

    Args:
        name: Name of the row.
        cells: Milliseconds (plain, folded) per dtype.
        rule: Choice of the rule.
    """
    numbers = ''.join(f'{plain:11.2f}{folded:9.2f}{plain / folded:7.2f}' for plain, folded in cells)
    print(f'{name:28}{numbers}  {rule}'.rstrip())


def rule_of(case: Case, device: torch.device) -> str:
    """Returns the choice of `fold=None`."""
    return 'folded' if folds(case.op, torch.empty(1, 1, case.h, case.h, device=device)) else 'plain'


def add(rows: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Returns the sum of rows, column by column."""
    return [(sum(a for a, _ in column), sum(b for _, b in column)) for column in zip(*rows, strict=True)]


@click.command()
@click.option('--threads', type=int, default=2, show_default=True, help='CPU threads.')
@click.option('--batch', type=int, default=16, show_default=True, help='Images.')
@click.option('--repeat', type=int, default=7, show_default=True, help='Calls to take the median of.')
@click.option('--device', default='cpu', show_default=True, help='cpu or cuda.')
@click.option('--only', type=click.Choice(list(NETWORKS)), help='One network.')
def main(threads: int, batch: int, repeat: int, device: str, only: str | None) -> None:
    """Prints a row per convolution, and a row per network and direction with their sum."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    where = torch.device(device)
    print(f'{device}, {threads} threads, batch {batch}; ms, forward and backward')
    print(f'{"":28}' + ''.join(f'{dtype + " plain":>11}{"folded":>9}{"ratio":>7}' for dtype in DTYPES) + '  rule')
    known: dict[Case, list[tuple[float, float]]] = {}  # networks share convolutions
    for name in [only] if only else NETWORKS:
        for case in NETWORKS[name]:
            if case not in known:
                known[case] = [measure(case, dtype, batch, repeat, where) for dtype in DTYPES.values()]
            print_row(f'{name} {case.op} {case.i}>{case.o} @{case.h}', known[case], rule_of(case, where))
        for op in OPS:
            if rows := [known[case] for case in NETWORKS[name] if case.op == op]:
                print_row(f'{name} {op}, all', add(rows), '')


if __name__ == '__main__':
    run_command(main)
