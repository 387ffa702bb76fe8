"""Passes as CUDA graphs compared with the ordinary step: equality of the states, and seconds of each.

python bench/graphs.py --cfg=auto --resolution=64 --batch=32 --precision=bf16

On a GPU the passes are recorded, replayed and compared. Without one, the functions that would be recorded run as they
are, and the states must be equal in every bit. Prints one line of JSON. Exit code 1 if the states differ by more than
the bound of the device: zero on a CPU; on a GPU 1e-2 of the largest value of a tensor after the first steps, because
sums by atomic additions have no order. It runs the phases Gmain, Greg and Dmain in every step.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import time
from types import SimpleNamespace

import click
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from dnnlib.command import run_command
from torch_utils.devices import pick_device, prepare
from training import step as step_module
from training.build import build
from training.config import RunConfig, with_precision
from training.graphs import GraphPasses
from training.interface import ImageSpec
from training.registry import RECIPES
from training.step import TrainStep

COMPARED = 4  # steps; the first records nothing, the second records


def train(
    cfg: RunConfig, spec: ImageSpec, device: torch.device, steps: int, graphs: bool
) -> tuple[TrainStep, dict[str, torch.Tensor], float]:
    """Trains on random images.

    Args:
        cfg: Config of the run.
        spec: Facts of the images.
        device: Device that trains.
        steps: Number of steps.
        graphs: Whether the passes are graphs.

    Returns:
        The step, the tensors of the state after COMPARED steps, and the median seconds of the later steps.
    """

    def make(cfg, state, fakes, device, world):
        return GraphPasses(cfg, state, fakes, world, record=device.type == 'cuda')

    ordinary = step_module.make_passes
    step_module.make_passes = make if graphs else ordinary
    step = TrainStep(cfg, build(cfg, spec, device), SimpleNamespace(spec=spec), device)
    step_module.make_passes = ordinary
    torch.manual_seed(0)
    img = torch.randint(0, 256, [cfg.batch, spec.channels, spec.height, spec.width], dtype=torch.uint8).to(device)
    times, tensors = [], {}
    for k in range(steps):
        began = time.perf_counter()
        step(img, torch.zeros([cfg.batch, 0], device=device))
        if device.type == 'cuda':
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
        if k == COMPARED - 1:
            tensors = {name: tensor.detach().float().cpu() for name, tensor in step.state.tensors().items()}
    return step, tensors, sorted(times[COMPARED:])[(steps - COMPARED) // 2]


@click.command()
@click.option('--cfg', 'cfg_name', default='auto')
@click.option('--resolution', default=64)
@click.option('--batch', default=32)
@click.option('--precision', default='bf16', type=click.Choice(['fp32', 'bf16', 'fp16']))
@click.option('--steps', default=12, type=click.IntRange(COMPARED + 1))
@click.option('--device', 'device_name', default=None, help='cpu or cuda.  [default: the best available]')
def main(cfg_name: str, resolution: int, batch: int, precision: str, steps: int, device_name: str | None) -> None:
    """Compares a step whose passes are graphs with the ordinary one."""
    device = pick_device(device_name)
    prepare(device)
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=10_000)
    cfg = with_precision(RECIPES.get(cfg_name).make(spec, 1), precision)
    lazy = {'r1': dataclasses.replace(cfg.r1, interval=1000), 'pl': dataclasses.replace(cfg.pl, interval=1)}
    cfg = dataclasses.replace(cfg, batch=batch, batch_gpu=batch, **lazy)
    if hasattr(cfg.discriminator, 'mbstd_group'):
        cfg = dataclasses.replace(cfg, discriminator=dataclasses.replace(cfg.discriminator, mbstd_group=None))
    _, expected, seconds = train(cfg, spec, device, steps, graphs=False)
    step, found, graph_seconds = train(cfg, spec, device, steps, graphs=True)
    assert isinstance(step.passes, GraphPasses)
    difference = max(
        float((found[name] - value).abs().max() / value.abs().max().clamp(min=1e-6))
        for name, value in expected.items()
        if value.numel()
    )
    name = torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'
    row = {'device': name, 'cfg': cfg_name, 'resolution': resolution, 'batch': batch, 'precision': precision}
    row |= {'recorded': step.passes.record, 'refused': step.passes.refused, 'difference': difference}
    print(json.dumps(row | {'seconds': round(seconds, 5), 'graph_seconds': round(graph_seconds, 5)}))
    lost = [phase for phase, reason in step.passes.refused.items() if reason is not None and phase != 'Dreg']
    sys.exit(bool(lost) or not difference <= (1e-2 if device.type == 'cuda' else 0))


if __name__ == '__main__':
    run_command(main)
