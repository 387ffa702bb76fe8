"""Durations of the augmentations, forward and forward with backward, compared with a copy of the images.

    python bench/augment.py --threads 2
    python bench/augment.py --step --resolution 64

Everything in a table is measured in turns, one call of each, so that what disturbs one disturbs all; medians. With
`--step` it is a training step, every phase once: without augmentation, with it at p = 0, and at the other strengths.
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

from bench.train_step import make_step
from dnnlib.command import run_command
from torch_utils.allocator import keep_freed_memory
from training.augment.diffaug import DiffAugment
from training.augment.pipe import AugmentPipe
from training.augment.presets import PRESETS

Augment = Callable[[torch.Tensor], torch.Tensor]
PIXELS = {'cpu': 2**18, 'cuda': 2**22}  # size of a batch
CALLS = {'cpu': 1, 'cuda': 10}  # calls timed together


def milliseconds(runs: list[Callable[[], object]], repeat: int, device: torch.device) -> list[float]:
    """Returns the median duration of each of `runs`, alternating after one round of warm-up; draws change per round."""
    times: list[list[float]] = [[] for _ in runs]
    calls = CALLS[device.type]
    for turn in range(repeat + 1):
        for run, own in zip(runs, times, strict=True):
            torch.manual_seed(turn)
            _wait(device)
            start = time.perf_counter()
            for _ in range(calls):
                run()
            _wait(device)
            own.append((time.perf_counter() - start) * 1e3 / calls)
    return [statistics.median(own[1:]) for own in times]


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def forward(augment: Augment, x: torch.Tensor) -> Callable[[], object]:
    """Returns a call that builds the graph of a later backward."""
    return lambda: augment(x)


def both(augment: Augment, x: torch.Tensor) -> Callable[[], object]:
    """Returns a call with its gradient in the images."""

    def run() -> object:
        y = augment(x)
        return torch.autograd.grad(y, x, torch.ones_like(y)) if y is not x else None

    return run


def rows(augpipe: str, strengths: list[float]) -> dict[str, Augment]:
    """Returns the functions that a table compares, the copy first."""
    pipe = AugmentPipe(PRESETS[augpipe])
    table: dict[str, Augment] = {'copy': torch.clone}
    table |= {f'{augpipe} p={p:g}': lambda x, p=p: pipe(x, p) for p in strengths}
    return table | {'diffaug': DiffAugment()}


def print_table(resolution: int, augpipe: str, strengths: list[float], repeat: int, device: torch.device) -> None:
    """Prints one row per augmentation: milliseconds, images per second, and the duration in copies."""
    n = max(PIXELS[device.type] // resolution**2, 4)
    x = (torch.rand([n, 3, resolution, resolution], device=device) * 2 - 1).requires_grad_()
    table = rows(augpipe, strengths)
    runs = [make(augment, x) for augment in table.values() for make in (forward, both)]
    results = milliseconds(runs, repeat, device)
    print(f'\nx {list(x.shape)}: ms, images/s, copies; forward | forward and backward')
    for k, name in enumerate(table):
        cells = [
            f'{ms:9.3f}{n / ms * 1e3:11.0f}{ms / reference:8.2f}'
            for ms, reference in zip(results[2 * k : 2 * k + 2], results[:2], strict=True)
        ]
        print(f'{name:14}' + ' |'.join(cells))


def print_steps(resolution: int, augpipe: str, strengths: list[float], repeat: int, device: torch.device) -> None:
    """Prints one row per strength: milliseconds of every phase, and the ratio to a step without augmentation.

    The images are augmented where D receives them, both generated and real ones. The networks are narrow, so that
    what the augmentation costs is a large part of the step.
    """
    batch, narrow = 16, {f'{net}.channel_max': '64' for net in ('generator', 'discriminator')}
    step = make_step('auto', resolution, batch, 'fp32', {'batch_gpu': str(batch), **narrow}, device)
    img = torch.randint(0, 256, [batch, 3, resolution, resolution], dtype=torch.uint8)
    micros = step.split(img, torch.zeros([batch, 0]))
    pipe = AugmentPipe(PRESETS[augpipe])

    def run(p: float | None) -> None:
        hook = None
        if p is not None:
            hook = step.state.D.register_forward_pre_hook(lambda _, args: (pipe(args[0], p), *args[1:]))
        for phase in step.phases:
            step.run_phase(phase, micros)
        if hook is not None:
            hook.remove()

    names = ['no augmentation', *(f'{augpipe} p={p:g}' for p in strengths)]
    runs = [lambda p=p: run(p) for p in (None, *strengths)]
    results = milliseconds(runs, repeat, device)
    print(f'\nstep of {batch} images at {resolution}x{resolution}, every phase once: ms, times no augmentation')
    for name, ms in zip(names, results, strict=True):
        print(f'{name:18}{ms:10.2f}{ms / results[0]:8.3f}')


@click.command()
@click.option('--threads', type=int, default=2, show_default=True, help='CPU threads.')
@click.option('--repeat', type=int, default=15, show_default=True, help='Turns to take the median of.')
@click.option('--device', default='cpu', show_default=True, help='cpu or cuda.')
@click.option('--augpipe', type=click.Choice(list(PRESETS)), default='bgc', show_default=True)
@click.option('--p', 'strengths', default='0,0.1,0.5,1', show_default=True, help='Strengths.')
@click.option('--resolution', 'resolutions', default='64,256', show_default=True, help='Sides of the images.')
@click.option('--step', is_flag=True, help='Time training steps instead.')
def main(threads: int, repeat: int, device: str, augpipe: str, strengths: str, resolutions: str, step: bool) -> None:
    """Prints a table a resolution."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    where = torch.device(device)
    if where.type == 'cuda':
        print(torch.cuda.get_device_name(where))
    print_one = print_steps if step else print_table
    for resolution in resolutions.split(','):
        print_one(int(resolution), augpipe, [float(p) for p in strengths.split(',')], repeat, where)


if __name__ == '__main__':
    run_command(main)
