"""Time and peak memory of filtered_lrelu in the layers of StyleGAN3, native and by the reference.

    python bench/filtered_lrelu.py --resolution=256 --channels=32

Both forms run on one thread, in turn. The shortest processor time of each counts, which a busy machine changes least.
Memory is the largest resident size during a call, less that before it. The operation treats all channels in
the same way, so that a few suffice. Letters in shapes: N batch, C channels, H and W height and width.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from extensions.layers.stylegan3_plan import LayerPlan, plan_layers
from extensions.stylegan3 import stylegan3_r, stylegan3_t
from torch_utils.ops.filtered_lrelu import filtered_lrelu
from training.interface import ImageSpec

RECIPES = {'T': stylegan3_t, 'R': stylegan3_r}
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}
IMPLS = ('ref', 'cpu')
M_MMAP_THRESHOLD = -3  # malloc.h

Run = Callable[[], object]


def return_freed_memory() -> None:
    """Makes malloc return every freed tensor to the system, so that the resident size is what is in use."""
    if not ctypes.CDLL('libc.so.6').mallopt(M_MMAP_THRESHOLD, 2**16):
        raise SystemExit('bench/filtered_lrelu.py measures memory by glibc on Linux')


def peak_memory(run: Run) -> int:
    """Returns the largest resident size during a call, less that before it, in bytes."""
    Path('/proc/self/clear_refs').write_text('5')  # resets the peak to the present size
    before = resident('VmRSS')
    run()
    return resident('VmHWM') - before


def resident(key: str) -> int:
    """Returns a size of this process in bytes: 'VmRSS' the present one, 'VmHWM' the peak."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def shortest(runs: dict[str, Run], repeat: int) -> dict[str, float]:
    """Returns the shortest of `repeat` processor times of each function in ms, called in turn, after a warm-up."""
    best = dict.fromkeys(runs, float('inf'))
    for turn in range(repeat + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], (time.process_time() - start) * 1e3) if turn else best[name]
    return best


def layers(config: str, resolution: int) -> Iterator[LayerPlan]:
    """Yields the layers of a network whose operations differ, without ToRGB, which has none."""
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1)
    seen = set()
    for plan in plan_layers(RECIPES[config](spec, 1).generator, spec)[:-1]:
        key = (plan.source.size, plan.target.channels, plan.up, plan.down, plan.padding)
        if key not in seen:
            seen.add(key)
            yield plan


def cases(plan: LayerPlan, channels: int, dtype: torch.dtype) -> dict[str, dict[str, Run]]:
    """Returns the functions to measure: forward without a gradient, and forward and backward; by implementation.

    Args:
        plan: The layer.
        channels: C.
        dtype: Dtype of the features.
    """
    size = [side + plan.kernel - 1 for side in plan.source.size]
    x = torch.randn([1, channels, *size]).to(dtype).requires_grad_()
    b = torch.zeros([channels], requires_grad=True)
    dy = torch.randn([1, channels, *plan.target.size]).to(dtype)
    fu, fd = plan.up_filter(), plan.down_filter()

    def forward(impl: str) -> torch.Tensor:
        options = {'up': plan.up, 'down': plan.down, 'padding': plan.padding, 'clamp': 256.0}
        return filtered_lrelu(x, fu, fd, b, **options, impl=impl)

    @torch.no_grad()
    def alone(impl: str) -> None:
        forward(impl)

    def both(impl: str) -> None:
        torch.autograd.grad(forward(impl), [x, b], dy)

    return {
        label: {impl: lambda impl=impl, run=run: run(impl) for impl in IMPLS}
        for label, run in (('forward', alone), ('and backward', both))
    }


@click.command()
@click.option('--resolution', type=int, default=256, show_default=True, help='Resolution of the network.')
@click.option('--channels', type=int, default=32, show_default=True, help='Most channels of a layer.')
@click.option('--repeat', type=int, default=5, show_default=True, help='Calls to take the shortest of.')
@click.option('--config', type=click.Choice(list(RECIPES)), multiple=True, help='T or R.  [default: both]')
@click.option('--dtype', type=click.Choice(list(DTYPES)), multiple=True, help='Precision.  [default: both]')
def main(resolution: int, channels: int, repeat: int, config: tuple[str, ...], dtype: tuple[str, ...]) -> None:
    """Prints a row per layer: milliseconds and MB of both forms, and how many times faster and smaller ours is."""
    torch.set_num_threads(1)
    return_freed_memory()
    for name in config or RECIPES:
        for precision in dtype or DTYPES:
            print(f'\n{name}, {resolution} px, {precision}: processor ms of ref and native, times faster; MB, share')
            totals = {label: dict.fromkeys(IMPLS, 0.0) for label in ('forward', 'and backward')}
            for plan in layers(name, resolution):
                text = f'{plan.name:14} x{plan.up} /{plan.down} '
                for label, runs in cases(plan, min(channels, plan.target.channels), DTYPES[precision]).items():
                    ms = shortest(runs, repeat)
                    mb = {impl: peak_memory(run) / 2**20 for impl, run in runs.items()}
                    totals[label] = {impl: totals[label][impl] + ms[impl] for impl in IMPLS}
                    text += f'| {ms["ref"]:8.1f}{ms["cpu"]:8.1f}{ms["ref"] / ms["cpu"]:6.1f}'
                    text += f'{mb["ref"]:8.1f}{mb["cpu"]:8.1f}{mb["cpu"] / mb["ref"]:6.2f} '
                print(text, flush=True)
            ratios = ', '.join(f'{label} {sums["ref"] / sums["cpu"]:.1f}' for label, sums in totals.items())
            print(f'all of these layers, times faster: {ratios}')


if __name__ == '__main__':
    run_command(main)
