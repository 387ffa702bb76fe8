"""Report of bench/compare.py: the state of each run, table.md and table.json, and a sheet of samples.

A run that reached its end has collapsed by either of two rules:
- its samples differ among each other less than `MIN_DIVERSITY` times as much as real images do. Diversity is the mean
  over all pairs of `NUM_SAMPLES` images of the root of the mean squared difference of their pixels;
- its metric is worse at the end than at the first measurement after a third of the run, by more than `TOLERANCE`.

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from dnnlib.errors import UserError
from dnnlib.files import atomic_path, read_jsonl, write_bytes, write_json
from ganfoundry.drawing import draw_seeds
from metrics.spec import parse_metric
from torch_utils.images import tile
from torch_utils.macs import count_macs
from torch_utils.seeding import numpy_generator
from torch_utils.summary import count
from training.build import build_networks
from training.data.dataset import ImageDataset
from training.record import from_record
from training.run.curve import draw_curves
from training.run.run_folder import RunFolder
from training.run.snapshot import load_generator, load_snapshot

MIN_DIVERSITY = 0.5
TOLERANCE = 0.1  # fraction of the metric a third of the way, above the variation between measurements
NUM_SAMPLES = 64
COLUMNS = 12  # samples per row of the sheet
CELL = 64  # smallest size of a sample on the sheet, pixels
LABEL_WIDTH = 200  # pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the comparison. flags: its own, as train.py takes them."""

    label: str
    cfg: str
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Settings of a comparison. metric: None disables measurement. jobs: number of simultaneous runs."""

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    kimg: int
    batch: int
    metric: str | None
    jobs: int
    threads: int
    command: tuple[str, ...]


class Trained(NamedTuple):
    """A run as it was left. state: 'new', 'running', 'interrupted', 'failed', 'diverged' or 'finished'."""

    row: Row
    seed: int
    state: str
    reason: str
    folder: RunFolder | None


@dataclass(kw_only=True, slots=True)
class Result:
    """Result of a run. state: 'finished' becomes 'done' or 'collapsed'. None: no such number."""

    seed: int
    state: str
    reason: str
    folder: str | None
    curve: list[tuple[float, float]]  # (kimg, metric)
    end: float | None = None
    best: float | None = None
    diversity: float | None = None  # relative to that of the real images
    sec_per_kimg: float | None = None
    memory_gb: float | None = None


# ---- one run


def end_of(lines: list[dict[str, Any]], kimg: int) -> float | None:
    """Returns the first number of a metric at the end of a run of `kimg`, or None if it is not measured yet."""
    return _first(lines[-1]) if lines and lines[-1]['nimg'] >= kimg * 1000 else None


def _first(line: dict[str, Any]) -> float:
    return next(iter(line['results'].values()))


def diversity(images: torch.Tensor) -> float:
    """Returns the mean distance of two images of uint8 [N, C, H, W]: root mean square over pixels, in gray levels."""
    pixels = images.flatten(1).double()  # [N, C * H * W]
    return float(torch.pdist(pixels).mean()) / pixels.shape[1] ** 0.5


def collapse(curve: list[tuple[float, float]], lower: bool, samples_to_real: float | None) -> str:
    """Returns the reason why a finished run has collapsed, by the rules at the top of the file, or ''."""
    reasons = []
    if samples_to_real is not None and samples_to_real < MIN_DIVERSITY:
        reasons.append(f'its samples differ {samples_to_real:.2f} times as much as real images (< {MIN_DIVERSITY})')
    if curve:
        end_kimg, end = curve[-1]
        third_kimg, third = next(point for point in curve if point[0] >= end_kimg / 3)
        if (end - third if lower else third - end) > TOLERANCE * abs(third):
            reasons.append(f'its metric went from {third:.4g} at {third_kimg:.3g} kimg to {end:.4g} at the end')
    return '; '.join(reasons)


def newest_snapshot(folder: RunFolder) -> Path | None:
    """Returns the last network snapshot of a run."""
    return max(folder.path.glob('network-snapshot-*.safetensors'), default=None)


def draw_samples(snapshot: Path) -> torch.Tensor:
    """Seeds 0, 1, 2, ... of a snapshot: uint8 [NUM_SAMPLES, C, H, W]."""
    G = load_generator(load_snapshot(snapshot), torch.device('cpu'), 'fp32')
    return torch.from_numpy(draw_seeds(G, range(NUM_SAMPLES), torch.zeros([1, G.c_dim]), batch=16))


def real_samples(dataset: ImageDataset) -> torch.Tensor:
    """Returns random real images, uint8 [NUM_SAMPLES, C, H, W], or all of a smaller set."""
    indices = numpy_generator(0, 'comparison').permutation(len(dataset))[:NUM_SAMPLES]
    return torch.from_numpy(np.stack([dataset.image(int(i)) for i in indices]))


def read_result(trained: Trained, plan: Plan, real_diversity: float) -> tuple[Result, torch.Tensor | None]:
    """Reads the numbers of a run's folder, its newest samples if there are any, and whether it has collapsed."""
    _, seed, state, reason, folder = trained
    result = Result(seed=seed, state=state, reason=reason, folder=str(folder.path) if folder else None, curve=[])
    if folder is None:
        return result, None
    # The first tick is one step, and warms up.
    if ticks := [line for line in read_jsonl(folder.stats) if line['Progress/tick']['mean'] > 0]:
        result.sec_per_kimg = statistics.median(line['Timing/sec_per_kimg']['mean'] for line in ticks)
        memory = 'Resources/peak_gpu_mem_gb' if 'Resources/peak_gpu_mem_gb' in ticks[0] else 'Resources/cpu_mem_gb'
        result.memory_gb = max(line[memory]['mean'] for line in ticks)
    lower = plan.metric is None or parse_metric(plan.metric).lower_is_better
    if plan.metric is not None:
        lines = folder.results(plan.metric)
        result.curve = [(line['nimg'] / 1000, _first(line)) for line in lines]
        result.end = end_of(lines, plan.kimg)
        result.best = (min if lower else max)((value for _, value in result.curve), default=None)
    samples = None
    try:
        if (snapshot := newest_snapshot(folder)) is not None:
            samples = draw_samples(snapshot)
            result.diversity = diversity(samples) / real_diversity
    except UserError as error:
        result.state, result.reason = 'failed', f'its samples cannot be drawn: {error}'
    if result.state == 'finished':
        result.reason = collapse(result.curve, lower, result.diversity)
        result.state = 'collapsed' if result.reason else 'done'
    return result, samples


# ---- a row: a --cfg over its seeds


def network_sizes(folder: RunFolder) -> dict[str, dict[str, int]]:
    """Parameters of G and D, and their multiply-adds for one image."""
    cfg, spec = from_record(folder.record())
    G, D = (net.eval().requires_grad_(False) for net in build_networks(cfg, spec))
    z, c = torch.zeros(1, G.z_dim), torch.zeros(1, spec.label_dim)
    img = torch.zeros(1, spec.channels, spec.height, spec.width)
    macs = {'G': count_macs(G, z, c), 'D': count_macs(D, img, c)}
    return {'parameters': {'G': count(G)[0], 'D': count(D)[0]}, 'macs': macs}


def summarize(row: Row, results: Sequence[Result], folders: list[RunFolder], metric: str | None) -> dict[str, Any]:
    """Returns a row of table.json. The metric's numbers cover the finished runs; std needs two of them."""
    ends = [result.end for result in results if result.end is not None]
    bests = [result.best for result in results if result.end is not None and result.best is not None]

    def over_runs(name: str, take: Any) -> float | None:
        values = [value for result in results if (value := getattr(result, name)) is not None]
        return take(values) if values else None

    return {
        'label': row.label,
        'cfg': row.cfg,
        'flags': list(row.flags),
        'metric': metric,
        'end': statistics.mean(ends) if ends else None,
        'std': statistics.stdev(ends) if len(ends) > 1 else None,
        'best': statistics.mean(bests) if bests else None,
        **(network_sizes(folders[0]) if folders else {'parameters': None, 'macs': None}),
        'sec_per_kimg': over_runs('sec_per_kimg', statistics.mean),
        'memory_gb': over_runs('memory_gb', max),
        'diversity': over_runs('diversity', min),
        'runs': [asdict(result) for result in results],
    }


def write_report(plan: Plan, dataset: ImageDataset, trained: Sequence[Trained], out: Path) -> str:
    """Writes table.md, table.json, sheet.png and curves.png. Returns the table."""
    reals = real_samples(dataset)
    real_diversity = diversity(reals)
    rows, strips = [], [('real images', reals)]
    for row in plan.rows:
        runs = [run for run in trained if run.row == row]
        results, samples = zip(*(read_result(run, plan, real_diversity) for run in runs), strict=True)
        rows.append(summarize(row, results, [run.folder for run in runs if run.folder], plan.metric))
        # The first seed that has something to show: no choice by looks.
        shown = next((i for i, s in enumerate(samples) if s is not None), 0)
        strips.append((f'{row.label}\nseed {results[shown].seed}: {results[shown].state}', samples[shown]))
    text = table(plan, dataset, rows)
    write_json(out / 'table.json', {'plan': asdict(plan), 'data': dataset.cfg.source, 'rows': rows})
    write_bytes(out / 'table.md', text.encode())
    save_sheet(strips, out / 'sheet.png')
    curves = {row['label']: [run['curve'] for run in row['runs'] if run['curve']] for row in rows}
    if any(curves.values()):
        draw_curves(curves, str(plan.metric), out / 'curves.png')
    return text


# ---- the table and the sheet


def table(plan: Plan, dataset: ImageDataset, rows: list[dict[str, Any]]) -> str:
    """Returns the comparison in Markdown."""
    spec = dataset.spec
    heads = ['cfg', f'{plan.metric or "metric"}, end', 'best', 'parameters G', 'D', 'MACs G', 'D', 's/kimg', 'GB']
    heads += ['diversity', 'runs']
    lines = [
        f'{dataset.name}, {spec.num_images} images of {spec.width}x{spec.height}; '
        f'{plan.kimg} kimg, batch {plan.batch}; {plan.jobs} run(s) side by side, {plan.threads} thread(s) each',
        '',
        f'| {" | ".join(heads)} |',
        f'|{"---|" * len(heads)}',
        *(f'| {" | ".join(_cells(row))} |' for row in rows),
        '',
        'end: mean over seeds +- standard deviation; best: mean of the best of each run; MACs: multiply-adds of one '
        'image, forward; s/kimg: median tick, measurements left out; GB: peak memory; diversity: least of the runs, in '
        'parts of real images. Collapsed: '
        f'diversity below {MIN_DIVERSITY}, or a metric that is worse at the end than after a third of the run by more '
        f'than {TOLERANCE:.0%}.',
    ]
    bad = [(row['label'], run) for row in rows for run in row['runs'] if run['reason']]
    lines += ([''] if bad else []) + [
        f'- {label}, seed {run["seed"]}: {run["state"]}: {run["reason"]}' for label, run in bad
    ]
    return '\n'.join([*lines, '', f'`python bench/compare.py {" ".join(plan.command)}`', ''])


def _cells(row: dict[str, Any]) -> list[str]:
    end = '-' if row['end'] is None else f'{row["end"]:.4g}'
    states: dict[str, int] = {}
    for run in row['runs']:
        states[run['state']] = states.get(run['state'], 0) + 1
    return [
        row['label'] if row['label'] == row['cfg'] else f'{row["label"]} ({row["cfg"]})',
        end if row['std'] is None else f'{end} +- {row["std"]:.2g}',
        _number(row['best'], '.4g'),
        *(_millions(row[name], net) for name in ('parameters', 'macs') for net in ('G', 'D')),
        _number(row['sec_per_kimg'], '.1f'),
        _number(row['memory_gb'], '.2f'),
        _number(row['diversity'], '.2f'),
        ', '.join(f'{number} {state}' for state, number in states.items()),
    ]


def _number(value: float | None, digits: str) -> str:
    return '-' if value is None else format(value, digits)


def _millions(values: dict[str, int] | None, net: str) -> str:
    return '-' if values is None else f'{values[net] / 1e6:.2f} M'


def save_sheet(strips: list[tuple[str, torch.Tensor | None]], path: Path) -> None:
    """Draws a labeled row of samples per (label, uint8 [N, C, H, W]); a row without samples is empty."""
    h = next(images.shape[2] for _, images in strips if images is not None)
    side = h * max(-(-CELL // h), 1)
    picture = Image.new('RGB', (LABEL_WIDTH + COLUMNS * side, len(strips) * side), 'white')
    canvas, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
    for i, (label, images) in enumerate(strips):
        canvas.multiline_text((8, i * side + side / 2), label, fill='#222222', font=font, anchor='lm')
        if images is not None:
            strip = tile(images[:COLUMNS].numpy(), COLUMNS)  # [C, H, COLUMNS * W]
            pixels = Image.fromarray(strip[0] if strip.shape[0] == 1 else strip.transpose(1, 2, 0))
            large = pixels.resize((COLUMNS * side, side), Image.Resampling.NEAREST)
            picture.paste(large.convert('RGB'), (LABEL_WIDTH, i * side))
    with atomic_path(path) as tmp:
        picture.save(tmp, format='PNG')
