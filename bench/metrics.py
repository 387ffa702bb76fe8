"""Durations of metrics after feature extraction: the end of FID, its statistics, neighbors, KID, and the total.

    python bench/metrics.py --part=frechet --dim=2048
    python bench/metrics.py --part=stats,neighbours,kid
    python bench/metrics.py --part=extract --detector=inception --images=512

`frechet` compares two methods of this project with scipy.linalg.sqrtm, in time and in agreement, on covariances of each
kind that is met. `extract` runs a detector by itself and with everything that a metric adds.

Letters: N items, D feature width.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
import numpy as np
import scipy.linalg
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from bench.detector import RANDOM, paired
from dnnlib.command import run_command
from metrics.detectors.interface import Features
from metrics.detectors.table import get_detector
from metrics.extraction import Extraction, Requirements, image_observer
from metrics.kinds.features import FeatureStats
from metrics.kinds.frechet import by_cholesky, by_factors
from metrics.kinds.kid import kernel_distance
from metrics.kinds.precision_recall import precision_recall
from metrics.streams.shares import cut
from torch_utils.devices import pick_device, prepare
from training.data.dataset import DataConfig, ImageDataset

Moments = tuple[torch.Tensor, torch.Tensor]


def features(num_items: int, dim: int, power: float, seed: int) -> torch.Tensor:
    """Features [N, D] float32 whose variances fall as i^-power in directions drawn at random."""
    rng = torch.Generator().manual_seed(seed)
    scales = torch.arange(1, dim + 1).double() ** (-power / 2)
    directions = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(99)).double()).Q
    parts = [
        (torch.randn(min(8192, num_items - start), dim, generator=rng).double() * scales @ directions.T).float()
        for start in range(0, num_items, 8192)
    ]
    return torch.cat(parts)


def moments(items: torch.Tensor) -> Moments:
    stats = FeatureStats(items.shape[1])
    stats.append(items)
    return stats.mean_cov()


def timed(function: Callable[[], object], rounds: int) -> tuple[object, float]:
    """Returns the result and the median seconds of a function, after one round of warm-up if there are several."""
    seconds, result = [], None
    for _ in range(rounds + (rounds > 1)):
        began = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - began)
    return result, statistics.median(seconds[-rounds:])


def bench_frechet(dim: int, rounds: int) -> None:
    """Computes Tr (A B)^½ with three methods."""
    print(f'Tr (A B)^1/2 at D = {dim}, {torch.get_num_threads()} threads')
    print('covariances of                          | Cholesky s | factors s | sqrtm s | Cholesky | factors (to sqrtm)')
    cases = {
        'variances as 1/i, 4 D items': (4 * dim, 1.0),
        'variances as 1/i^2, 4 D items': (4 * dim, 2.0),
        'variances as 1/i^3, 4 D items': (4 * dim, 3.0),
        'D / 2 items: rank-deficient': (dim // 2, 1.0),
    }
    for name, (num_items, power) in cases.items():
        a, b = (moments(features(num_items, dim, power, seed))[1] for seed in (0, 1))
        fast, fast_s = timed(lambda a=a, b=b: by_cholesky(a, b), rounds)
        slow, slow_s = timed(lambda a=a, b=b: by_factors(a, b), rounds)
        root, root_s = timed(lambda a=a, b=b: scipy.linalg.sqrtm((a @ b).numpy()), 1)
        truth = float(np.trace(np.asarray(root)).real)
        assert isinstance(slow, torch.Tensor)
        agreement = 'refused ' if fast is None else f'{abs(float(fast) / truth - 1):8.1e}'  # type: ignore[arg-type]
        times = f'{fast_s:10.2f} | {slow_s:9.2f} | {root_s:7.2f}'
        print(f'{name:39s} | {times} | {agreement} | {abs(float(slow) / truth - 1):8.1e}')


def bench_stats(dim: int, rounds: int, device: torch.device) -> None:
    """Measures mean and covariance of a stream in batches of 64, compared with one product of the same size."""
    items = features(8192, dim, 1.0, 0).to(device)

    def stream() -> Moments:
        stats = FeatureStats(dim)
        for batch in items.split(64):
            stats.append(batch)
        return stats.mean_cov()

    whole = items.double()
    ours, alone = paired(stream, lambda: whole.T @ whole, device, rounds)
    share = f'one product of all in {alone:.2f} s, share {alone / ours:.0%}'
    print(f'statistics on {device}: {len(items) / ours:.0f} items/s at D = {dim}; {share}')


def bench_neighbours(dim: int, rounds: int) -> None:
    real, fake = (features(10_000, dim, 0.5, seed) for seed in (0, 1))
    found, seconds = timed(lambda: precision_recall(real, fake), rounds)
    print(f'precision and recall of 10,000 and 10,000 at D = {dim}: {seconds:.1f} s {found}')


def bench_kid(dim: int, rounds: int) -> None:
    real, fake = (features(10_000, dim, 0.5, seed) for seed in (0, 1))
    found, seconds = timed(lambda: kernel_distance(real, fake, np.random.default_rng(0)), rounds)
    print(f'KID, 100 subsets of 1,000 at D = {dim}: {seconds:.1f} s ({found:.2e})')


def bench_extract(name: str, num_images: int, rounds: int, device: torch.device) -> None:
    """Images a second of the whole pass: cut to batches, detector, statistics, features kept."""
    detector = RANDOM[name].random(device) if name in RANDOM else get_detector(name, device)
    images = torch.from_numpy(next(ImageDataset(DataConfig()).parts([range(num_images)]))).to(device)  # [N, 3, 64, 64]
    required = Requirements(moments=frozenset({num_images}), features=num_images)

    def stream(parts: Iterable[range]) -> Iterator[torch.Tensor]:
        return (images[part.start : part.stop] for part in parts)

    def measure() -> object:
        extraction = Extraction(detector.feature_dim, required)
        for rows in image_observer(stream, detector, 'bench')(cut(num_images, 64)):
            extraction.append(Features(rows[:, : detector.feature_dim], None))
        return extraction

    def alone() -> object:
        return [detector(batch) for batch in images.split(64)]

    ours, bare = paired(measure, alone, device, rounds)
    rates = f'{num_images / ours:.1f} images/s, the detector alone {num_images / bare:.1f}'
    print(f'{name} on {device}: {rates}, share {bare / ours:.1%}')


@click.command()
@click.option('--part', default='frechet,stats,neighbours,kid,extract', show_default=True)
@click.option('--dim', default=2048, show_default=True)
@click.option('--detector', default='inception', show_default=True)
@click.option('--images', 'num_images', default=128, show_default=True)
@click.option('--rounds', default=3, show_default=True, help='The median of so many is reported.')
@click.option('--device')
def main(part: str, dim: int, detector: str, num_images: int, rounds: int, device: str | None) -> None:
    """Times the parts that are named."""
    where = pick_device(device)
    prepare(where)
    parts: dict[str, Callable[[], None]] = {
        'frechet': lambda: bench_frechet(dim, rounds),
        'stats': lambda: bench_stats(dim, rounds, where),
        'neighbours': lambda: bench_neighbours(dim, rounds),
        'kid': lambda: bench_kid(dim, rounds),
        'extract': lambda: bench_extract(detector, num_images, rounds, where),
    }
    for name in part.split(','):
        if name not in parts:
            raise click.BadParameter(f'{name}: there are {", ".join(parts)}')
        parts[name]()


if __name__ == '__main__':
    run_command(main)
