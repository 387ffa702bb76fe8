"""Effect of the native operations on a whole training step: each phase with and without them, in turn.

python bench/native_step.py --resolution=32 --batch=32 --cbase=2048 --cmax=128
"""

from __future__ import annotations

import pathlib
import statistics
import sys
import time

import click
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from bench.train_step import make_step
from dnnlib.command import run_command
from torch_utils.allocator import keep_freed_memory
from torch_utils.ops import dispatch
from training.step import Phase, TrainStep


def paired_seconds(step: TrainStep, phase: Phase, micros: list, repeats: int) -> tuple[list[float], list[float]]:
    """Measures a phase with the reference and with the choice of 'auto', in turn; the first pair is left out.

    Args:
        step: The training step.
        phase: The phase.
        micros: Its micro-batches.
        repeats: Number of pairs.

    Returns:
        Seconds with the reference, and with the choice of 'auto'.
    """
    times: dict[str, list[float]] = {'ref': [], 'auto': []}
    for _ in range(repeats + 1):
        for impl, seconds in times.items():
            with dispatch.default(impl):
                began = time.perf_counter()
                step.run_phase(phase, micros)
                seconds.append(time.perf_counter() - began)
    return times['ref'][1:], times['auto'][1:]


@click.command()
@click.option('--cfg', default='auto', show_default=True)
@click.option('--resolution', default=32, show_default=True)
@click.option('--batch', default=32, show_default=True)
@click.option('--cbase', default=2048, show_default=True)
@click.option('--cmax', default=128, show_default=True)
@click.option('--precision', default='bf16,fp32', show_default=True)
@click.option('--repeats', default=9, show_default=True)
def main(cfg: str, resolution: int, batch: int, cbase: int, cmax: int, precision: str, repeats: int) -> None:
    """Prints medians of each phase and of the ratio pair by pair."""
    keep_freed_memory()
    widths = {'channel_base': cbase, 'channel_max': cmax}
    sets = {f'{part}.{name}': value for part in ('generator', 'discriminator') for name, value in widths.items()}
    print(f'--cfg={cfg} at {resolution}x{resolution}, batch {batch}, CPU, {torch.get_num_threads()} threads')
    for name in precision.split(','):
        step = make_step(cfg, resolution, batch, name, sets, torch.device('cpu'))
        img = torch.randint(0, 256, [batch, 3, resolution, resolution], dtype=torch.uint8)
        micros = step.split(img, torch.zeros([batch, 0]))
        for phase in step.phases:
            ref, auto = paired_seconds(step, phase, micros, repeats)
            ratio = statistics.median(r / a for r, a in zip(ref, auto, strict=True))
            times = f'ref {statistics.median(ref):.3f} s, native {statistics.median(auto):.3f} s'
            print(f'{name} {phase.name:6s} {times}, {ratio:.2f} times as fast')


if __name__ == '__main__':
    run_command(main)
