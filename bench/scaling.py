"""How training scales with processes: a model on paper for 1 to 64 GPUs, and images a second of processes here.

    python bench/scaling.py model --cfg=paper256 --resolution=256
    python bench/scaling.py measure --gpus=1,2 --kimg=1

docs/scaling.md has the model's tables and says what it counts. `measure` runs train.py with one thread per process, so
that two processes have twice the machine of one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.errors import UserError
from torch_utils.macs import count_macs
from torch_utils.summary import count
from training.build import build_networks
from training.config import RunConfig
from training.interface import ImageSpec
from training.registry import RECIPES

ROOT = Path(__file__).resolve().parent.parent
GPUS = (1, 8, 16, 32, 64)
PER_MACHINE = 8
HEAD = '| GPUs | images per GPU | compute | all-reduce, 50 GB/s | share | all-reduce, 12.5 GB/s | share |'


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Assumptions of the model about GPUs and networks; not measured here."""

    flops: float = 60e12  # sustained FLOP/s of a GPU on these networks in bfloat16
    inside: float = 300e9  # bandwidth between the GPUs of a machine, bytes/s in each direction
    latency: float = 20e-6  # latency of a collective, seconds, plus the same per doubling of the machines


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Costs of one step of a run."""

    macs: float  # an image, over all phases
    num_bytes: float  # all-reduced
    collectives: float


def work_of(cfg: RunConfig, spec: ImageSpec) -> Work:
    """Passes are counted in forwards: a gradient with respect to weights, or to inputs, costs as much as a forward.

    Gmain: G 3 (forward, both gradients), D 2 (no gradient of weights). Greg, on half the images: G 6 (forward and the
    gradient to ws, and twice that for the gradient of the penalty). Dmain: G 1, D 3 on generated and 3 on real images.
    Dreg: D 6. A lazy phase counts by its interval.
    """
    with torch.device('meta'):
        G, D = build_networks(cfg, spec)
        z, c = torch.empty([1, G.z_dim]), torch.empty([1, spec.label_dim])
        img = torch.empty([1, spec.channels, spec.height, spec.width])
    g, d = count_macs(G, z, c), count_macs(D, img, c)
    greg = 1 / (cfg.pl.interval or 1) if cfg.pl.weight > 0 else 0
    dreg = 1 / (cfg.r1.interval or 1) if cfg.r1.gamma > 0 else 0
    macs = (3 + 1 + 6 * greg / cfg.pl.batch_shrink) * g + (2 + 6 + 6 * dreg) * d
    num_bytes = 4 * ((1 + greg) * count(G)[0] + (1 + dreg) * count(D)[0])
    return Work(macs=macs, num_bytes=num_bytes, collectives=2 + greg + dreg + 1)


def compute_s(work: Work, batch: int, gpus: int, machine: Machine) -> float:
    """Seconds in which each GPU computes its images."""
    return 2 * work.macs * batch / gpus / machine.flops


def reduce_s(work: Work, gpus: int, network: float, machine: Machine) -> float:
    """Seconds of the all-reduces: rings inside the machines, then between them, each machine on `network` bytes/s.

    A ring of n sends 2 (n - 1) / n of the bytes over each wire.
    """
    inside, machines = min(gpus, PER_MACHINE), max(gpus // PER_MACHINE, 1)
    wires = 2 * (inside - 1) / inside / machine.inside + 2 * (machines - 1) / machines / network
    hops = 0 if gpus == 1 else machines.bit_length()
    return work.num_bytes * wires + work.collectives * hops * machine.latency


def model_table(name: str, resolution: int, machine: Machine = Machine()) -> str:
    """Milliseconds of a step by number of GPUs at the recipe's batch, and the share of the all-reduces in it."""
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1)
    cfg = RECIPES.get(name).make(spec, 1)
    work = work_of(cfg, spec)
    title = (
        f'{name} at {resolution}x{resolution}, batch {cfg.batch}: {2 * work.macs / 1e12:.2f} TFLOP per image, '
        f'{work.num_bytes / 1e6:.0f} MB all-reduced per step'
    )
    lines = [title, '', HEAD, '|---|---|---|---|---|---|---|']
    for gpus in (n for n in GPUS if cfg.batch % n == 0):
        compute = compute_s(work, cfg.batch, gpus, machine)
        cells = [str(gpus), str(cfg.batch // gpus), f'{compute * 1e3:.1f} ms']
        for network in (50e9, 12.5e9):
            reduce = reduce_s(work, gpus, network, machine)
            cells += [f'{reduce * 1e3:.1f} ms', f'{reduce / (compute + reduce):.0%}']
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def images_per_s(gpus: int, kimg: int, flags: tuple[str, ...]) -> tuple[float, dict[str, float]]:
    """Images a second of train.py in so many processes: the median of its ticks; milliseconds of each phase."""
    with tempfile.TemporaryDirectory() as outdir:
        args = [
            sys.executable,
            str(ROOT / 'train.py'),
            f'--outdir={outdir}',
            f'--gpus={gpus}',
            f'--kimg={kimg}',
            *flags,
        ]
        env = {**os.environ, 'OMP_NUM_THREADS': '1'}
        if code := subprocess.run(args, stdout=subprocess.DEVNULL, env=env).returncode:
            raise UserError(f'train.py ended with exit code {code}; its error is above')
        (stats,) = Path(outdir).glob('*/stats.jsonl')
        ticks = [json.loads(line) for line in stats.read_text().splitlines()][2:]  # without warm-up
    phases = {name: [tick[name]['mean'] for tick in ticks if name in tick] for name in ('Timing/Gmain', 'Timing/Dmain')}
    seconds = statistics.median(tick['Timing/sec_per_kimg']['mean'] for tick in ticks)
    return 1000 / seconds, {name: statistics.median(values) for name, values in phases.items()}


@click.group()
def main() -> None:
    """Prints the scaling over processes."""


@main.command()
@click.option('--cfg', default='paper256', show_default=True)
@click.option('--resolution', default=256, show_default=True)
def model(cfg: str, resolution: int) -> None:
    """Prints the tables of the model."""
    click.echo(model_table(cfg, resolution))


@main.command()
@click.option('--gpus', help='Comma list of numbers of processes.', default='1,2', show_default=True)
@click.option('--kimg', default=1, show_default=True)
@click.option('--device', default='cpu', show_default=True)
def measure(gpus: str, kimg: int, device: str) -> None:
    """Runs train.py on the embedded set at 32x32."""
    flags = (
        f'--device={device}', '--cfg=squeeze', '--resolution=32', '--batch=32', '--batch-gpu=8', '--cbase=1024',
        '--cmax=128', '--metrics=none', '--workers=0', '--tick=0.128', '--snap=1000', '--set=save_every_s=3600',
    )  # fmt: skip
    click.echo('| processes | images/s | speed-up | Gmain | Dmain |\n|---|---|---|---|---|')
    first = None
    for n in (int(text) for text in gpus.split(',')):
        speed, phases = images_per_s(n, kimg, flags)
        first = first or speed
        cells = ' | '.join(f'{value:.0f} ms' for value in phases.values())
        click.echo(f'| {n} | {speed:.1f} | {speed / first:.2f} | {cells} |')


if __name__ == '__main__':
    run_command(main)
