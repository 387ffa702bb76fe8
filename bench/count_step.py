"""Kernel launches, bytes and FLOP of one training step on a GPU, counted on a machine without one.

    python bench/count_step.py --cfg=auto --resolution=64 --batch=32 --precision=bf16 --top=15
    python bench/count_step.py --table

The step runs for real on fake CUDA tensors: shapes, dtypes, memory formats and autograd are those of a GPU, but there
are no numbers. Mixed devices and reading a number of the device raise an error. `tests/support/fake_cuda/rules.py` has
the rules of counting. Style mixing happens in every step; the mean step weights each phase by its interval.

Rates of the estimate: with --gpu=reference convolutions and matrix products run at 450 TFLOP/s in 16 bits, 200 in
TF32 and 40 in float32, other bytes move at 3.8 TB/s; for a named GPU, 45, 40, 60 and 80 % of the published peaks. A
launch takes 5 us of the host. GPU time = max(host, products + bytes). These rates are assumptions, not measurements;
the estimate knows nothing of wide kernels, whose FLOP should be 0.

The first run builds the native operations and a guard library, which takes g++. Kernels that are not operators of
torch.library cannot be counted. CUDA graphs are not part of the count.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.errors import ConfigError
from tests.support.fake_cuda import guard
from tests.support.fake_cuda.cost import Cost

if TYPE_CHECKING:
    from tests.support.fake_cuda.counter import Counter
    from training.config import RunConfig
    from training.interface import ImageSpec

LAUNCH_S = 5e-6


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of a GPU.

    Attributes:
        low: FLOP/s of products in float16 and bfloat16.
        tf32: FLOP/s of products in TF32.
        fp32: FLOP/s of products in float32.
        bandwidth: Bytes/s of the memory.
    """

    low: float
    tf32: float
    fp32: float
    bandwidth: float


REFERENCE = Rates(450e12, 200e12, 40e12, 3.8e12)
REACHED = Rates(0.45, 0.40, 0.60, 0.80)  # shares of the peaks
PEAKS = {  # published, dense, with float32 sums
    'h200': Rates(989e12, 495e12, 67e12, 4.8e12),
    'h100': Rates(989e12, 495e12, 67e12, 3.35e12),
    'a100': Rates(312e12, 156e12, 19.5e12, 2.04e12),
    'l40s': Rates(362e12, 183e12, 91.6e12, 0.864e12),
    'a10': Rates(125e12, 62.5e12, 31.2e12, 0.6e12),
    'rtx4090': Rates(165e12, 82.6e12, 82.6e12, 1.01e12),
    'rtx3090': Rates(71e12, 35.6e12, 35.6e12, 0.936e12),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A training step to count.

    Attributes:
        cfg: Name of the recipe.
        resolution: Side of the images.
        batch: Images in a step, in one micro-batch.
        precision: 'fp32', 'bf16' or 'fp16'.
        aug: Kind of augmentation; p is 0.6.
        sets: Config fields to set, by path.
        impl: 'auto' for the project's kernels, or 'ref' for the reference that runs without them.
    """

    cfg: str = 'auto'
    resolution: int = 64
    batch: int = 32
    precision: str = 'bf16'
    aug: str = 'noaug'
    sets: Mapping[str, str] = dataclasses.field(default_factory=dict)
    impl: str = 'auto'

    def config(self) -> tuple[RunConfig, ImageSpec]:
        """Returns the config of the run and the facts of its images."""
        from tests.support.fake_cuda.steps import CUDA
        from training.augment.config import AugmentConfig
        from training.build import tf32_by_default
        from training.config import apply_overrides, with_precision
        from training.interface import ImageSpec
        from training.registry import RECIPES

        RECIPES.load_all()
        spec = ImageSpec(resolution=self.resolution, channels=3, label_dim=0, num_images=10_000)
        cfg = with_precision(RECIPES.get(self.cfg).make(spec, 1), self.precision)
        aug = AugmentConfig(kind=self.aug, p=0.6 if self.aug in ('ada', 'fixed', 'apa') else 0.0)
        mixing = 1.0 if cfg.style_mixing_prob > 0 else 0.0
        allow_tf32 = tf32_by_default(self.precision, CUDA)
        cfg = dataclasses.replace(cfg, aug=aug, style_mixing_prob=mixing, allow_tf32=allow_tf32)
        return apply_overrides(cfg, {'batch': str(self.batch), **self.sets}), spec


TABLE = tuple(
    Case(resolution=resolution, batch=batch, precision=precision)
    for precision in ('bf16', 'fp16')
    for resolution, batch in ((64, 32), (256, 16), (1024, 4))
) + tuple(Case(cfg=name) for name in ('squeeze', 'gconv', 'igan', 'giu'))
TABLE_HEAD = """
| --cfg | images, batch | precision | launches | GB | TFLOP 16 bits | TF32 | fp32 | wide | waits | host, ms | GPU, ms |
|---|---|---|---|---|---|---|---|---|---|---|---|
""".strip()


@dataclass(frozen=True, slots=True)
class Count:
    """Result of counting a step.

    Attributes:
        counter: Sums by phase, operator and place.
        intervals: Steps per run of every phase, 1 for the rest of a step.
    """

    counter: Counter
    intervals: dict[str, int]

    def mean(self) -> Cost:
        """Returns the cost of the mean step."""
        return self._mean(self.counter.phases)[()]

    def top(self, what: str, num: int) -> list[list[Any]]:
        """Returns [launches, bytes, place, operator] of the mean step for the places with most of `what`.

        Args:
            what: 'launches' or 'bytes'.
            num: Number of rows.
        """
        means = self._mean(self.counter.places)
        largest = sorted(means.items(), key=lambda item: -getattr(item[1], what))[:num]
        return [[round(cost.launches, 1), round(cost.bytes), *names] for names, cost in largest]

    def _mean(self, costs: Mapping[Any, Cost]) -> dict[tuple[str, ...], Cost]:
        """Returns the mean over steps of costs by phase, or by phase and names."""
        means: dict[tuple[str, ...], Cost] = collections.defaultdict(Cost)
        for key, cost in costs.items():
            phase, *names = [key] if isinstance(key, str) else key
            means[tuple(names)].add(cost, 1 / self.intervals[phase])
        return means


def count(case: Case, by_place: bool = False) -> Count:
    """Counts a step; the guard must be loaded. `by_place` takes longer."""
    from tests.support.fake_cuda.steps import count_step
    from torch_utils.ops import dispatch

    with dispatch.default(case.impl):
        return Count(*count_step(*case.config(), by_place))


def rates_of(gpu: str) -> Rates:
    """Returns the assumed rates of a GPU, or of the reference."""
    if gpu == 'reference':
        return REFERENCE
    peaks, shares = dataclasses.asdict(PEAKS[gpu]), dataclasses.asdict(REACHED)
    return Rates(**{name: peak * shares[name] for name, peak in peaks.items()})


def estimate(cost: Cost, rates: Rates) -> dict[str, float]:
    """Returns milliseconds by the roofline: of the host, of each kind of work, and of the whole on the GPU."""
    host = cost.launches * LAUNCH_S
    work = {
        'low': cost.low / rates.low,
        'tf32': cost.tf32 / rates.tf32,
        'fp32': cost.fp32 / rates.fp32,
        'memory': cost.bytes / rates.bandwidth,
    }
    parts = {'host': host, **work, 'gpu': max(host, sum(work.values()))}
    return {name: round(seconds * 1e3, 3) for name, seconds in parts.items()}


def record_of(case: Case, gpu: str, top: int) -> dict[str, Any]:
    """Returns everything that is printed: counts by phase, the mean step, the estimate, the largest places.

    Args:
        case: Step to count.
        gpu: Name of the GPU of the estimate.
        top: Number of places with the most launches and bytes; 0: none.
    """
    import torch

    counted = count(case, by_place=top > 0)
    phases, mean = counted.counter.phases, counted.mean()
    record = dataclasses.asdict(case) | {
        'torch': torch.__version__,
        'phases': {phase: phases[phase].record() for phase in counted.intervals},
        'step': mean.record(),
        'gpu': gpu,
        'estimate_ms': estimate(mean, rates_of(gpu)),
        'waits_at': dict(counted.counter.waits),
    }
    if top:
        record['top'] = {what: counted.top(what, top) for what in ('launches', 'bytes')}
    return record


def table_of(records: Sequence[dict[str, Any]]) -> str:
    """Returns the mean steps of several records as a Markdown table."""
    lines = [TABLE_HEAD]
    for record in records:
        cost = record['step']
        tera = ' | '.join(f'{cost[name] / 1e12:.3f}' for name in ('low', 'tf32', 'fp32', 'wide'))
        lines.append(
            f'| {record["cfg"]} | {record["resolution"]}, {record["batch"]} | {record["precision"]} '
            f'| {cost["launches"]:,.0f} | {cost["bytes"] / 1e9:.1f} | {tera} | {cost["waits"]:.0f} '
            f'| {record["estimate_ms"]["host"]:.1f} | {record["estimate_ms"]["gpu"]:.1f} |'
        )
    return '\n'.join(lines)


def text_of(record: dict[str, Any]) -> str:
    """Returns a record as tables for people."""
    res, sets = record['resolution'], ''.join(f', {path}={value}' for path, value in record['sets'].items())
    lines = [
        f'--cfg={record["cfg"]} at {res}x{res}, batch {record["batch"]}, {record["precision"]}, {record["aug"]}{sets}, '
        f'operations {record["impl"]}, torch {record["torch"]}',
        f'{"":10s} {"launches":>9s} {"GB":>8s} {"TFLOP 16":>9s} {"TF32":>7s} {"fp32":>7s} {"wide":>7s} {"copies":>7s} '
        f'{"waits":>6s}',
    ]
    for name, cost in (record['phases'] | {'mean step': record['step']}).items():
        tera = f'{cost["low"] / 1e12:9.3f} ' + ' '.join(f'{cost[key] / 1e12:7.3f}' for key in ('tf32', 'fp32', 'wide'))
        lines.append(
            f'{name:10s} {cost["launches"]:9,.1f} {cost["bytes"] / 1e9:8.2f} {tera} {cost["copies"]:7.1f} '
            f'{cost["waits"]:6.1f}'
        )
    parts = ', '.join(f'{name} {ms:.1f}' for name, ms in record['estimate_ms'].items())
    lines.append(f'estimate in ms, {record["gpu"]}: {parts}')
    lines += [f'the host waits at {place}: {n}' for place, n in record['waits_at'].items()]
    for what, rows in record.get('top', {}).items():
        lines.append(f'\nmost {what} in the mean step\n{"launches":>9s} {"GB":>8s}')
        lines += [f'{launches:9,.1f} {size / 1e9:8.3f} {place} {name}' for launches, size, place, name in rows]
    return '\n'.join(lines)


@click.command()
@click.option('--cfg', default='auto', show_default=True)
@click.option('--resolution', default=64, show_default=True)
@click.option('--batch', default=32, show_default=True)
@click.option('--precision', default='bf16', show_default=True, type=click.Choice(['fp32', 'bf16', 'fp16']))
@click.option('--aug', default='noaug', show_default=True, help='Kind of augmentation, as train.py has it.')
@click.option('--set', 'sets', multiple=True, metavar='A.B=C', help='A config field, as train.py has it.')
@click.option('--impl', default='auto', show_default=True, type=click.Choice(['auto', 'ref']), help='Operations.')
@click.option('--gpu', default='reference', show_default=True, type=click.Choice(['reference', *PEAKS]))
@click.option('--top', default=0, show_default=True, help='Places with the most launches and bytes.')
@click.option(
    '--table', is_flag=True, help='Count the steps of TABLE, in place of the one that other options describe.'
)
@click.option('--json', 'as_json', is_flag=True, help='Print JSON.')
def main(
    cfg: str, resolution: int, batch: int, precision: str, aug: str, sets: Sequence[str], impl: str, gpu: str,
    top: int, table: bool, as_json: bool,
) -> None:  # fmt: skip
    """Counts a training step on fake CUDA tensors."""
    for item in sets:
        if '=' not in item:
            raise ConfigError(f'--set {item}: expected FIELD=VALUE')
    guard.load()
    from tests.support.fake_cuda import stubs

    stubs.prepare()
    changes = dict(item.split('=', 1) for item in sets)
    case = Case(cfg=cfg, resolution=resolution, batch=batch, precision=precision, aug=aug, sets=changes, impl=impl)
    if table:
        records = [record_of(row, gpu, top=0) for row in TABLE]
        print(json.dumps(records, indent=1) if as_json else table_of(records))
    else:
        record = record_of(case, gpu, top)
        print(json.dumps(record, indent=1) if as_json else text_of(record))


if __name__ == '__main__':
    run_command(main)
