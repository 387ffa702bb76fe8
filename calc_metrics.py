"""Measure a network snapshot: metrics by name, against the data that it was trained on or others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnnlib.errors import run_command

if TYPE_CHECKING:  # the real imports stand in the functions that need them: --help must answer at once
    import torch

    from metrics.cache import Cache
    from metrics.reference import Reference
    from metrics.spec import PathSpec
    from training.dataset import ImageDataset


class SnapshotEvaluator:
    """Metrics of generators against one data set; what the detector saw in the reals is kept between calls.

    names: metrics, the first of them decides which snapshot is best. seed: of latents, labels, noise and subsets.
    check: called between batches; what it raises ends the evaluation. cache, replicates: see `metrics.evaluate`.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        dataset: ImageDataset,
        device: torch.device,
        seed: int,
        *,
        batch_size: int = 64,
        check: Callable[[], None] = lambda: None,
        cache: Cache | None = None,
        replicates: int = 0,
    ) -> None:
        from metrics.detectors import get_detector
        from metrics.evaluate import Evaluator
        from metrics.lpips import Lpips

        self.names = names
        self._dataset, self._seed, self._batch_size, self._check = dataset, seed, batch_size, check
        self._evaluator = Evaluator(
            reals=reference(dataset, batch_size),
            originals=whole_reference(dataset, batch_size),
            detector_for=lambda name: get_detector(name, device),
            distance_for=lambda: Lpips(device),
            batch_size=batch_size,
            cache=cache,
            replicates=replicates,
            device=device,
            progress=lambda *state: check(),
        )

    def __call__(self, G_ema: torch.nn.Module) -> Iterator[tuple[str, dict[str, Any]]]:
        """(name, {'results', 'metric', 'total_time', 'seed'}) for every metric; the time is that of all together."""
        from metrics.ppl import EPSILON
        from training.sampling import generated_batches, path_batches

        def fakes(num_images: int, seed: int) -> Iterator[torch.Tensor]:
            return generated_batches(G_ema, self._dataset, num_images, seed, self._batch_size, self._check)

        def paths(path: PathSpec, seed: int, num_pairs: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            walk = path.space, path.sampling, num_pairs, seed
            return path_batches(G_ema, self._dataset, *walk, epsilon=EPSILON, check=self._check)

        began = time.monotonic()
        results = self._evaluator.evaluate(self.names, fakes=fakes, paths=paths, seed=self._seed)
        for name, values in results.items():
            total_time = time.monotonic() - began
            yield name, {'results': values, 'metric': name, 'total_time': total_time, 'seed': self._seed}

    def lower_is_better(self, name: str) -> bool:
        """True for distances, False for scores."""
        from metrics.spec import parse_metric

        return parse_metric(name).lower_is_better


def reference(dataset: ImageDataset, batch_size: int) -> Reference:
    """A data set as metrics see it: all its images, x-flips included."""
    from metrics.reference import Reference

    return Reference(
        images=lambda: dataset.image_batches(batch_size),
        num_images=len(dataset),
        content=dataset.content_digest,
        name=dataset.name,
    )


def whole_reference(dataset: ImageDataset, batch_size: int) -> Reference | None:
    """What `_full` metrics compare with, the data set without --subset and x-flips; None where that is the same."""
    from dataclasses import replace

    from training.dataset import ImageDataset

    cfg = dataset.cfg
    if cfg.subset is None and not cfg.mirror:
        return None
    return reference(ImageDataset(replace(cfg, subset=None, mirror=False, cond=False)), batch_size)


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
@click.option(
    '--network',
    help='Snapshot to measure, or an official .pkl: a path or an http(s) address.',
    required=True,
    metavar='FILE|URL',
)
@click.option('--metrics', help='Comma list, e.g. fid50k_full,kid_efflite10k_full.', required=True)
@click.option('--data', help='Images to measure against.  [default: those that it was trained on]', metavar='PATH')
@click.option(
    '--mirror',
    help='Count x-flipped images as real, but for _full metrics.  [default: as in training]',
    type=bool,
    metavar='BOOL',
)
@click.option('--seed', help='Seed of every random draw.', type=int, default=0, show_default=True)
@click.option('--batch', help='Images drawn at a time.', type=click.IntRange(1), default=64, show_default=True)
@click.option('--precision', type=click.Choice(['auto', 'fp32', 'bf16', 'fp16']), help='[default: as in training]')
@click.option('--plugin', help='Python file that registers the --cfg of the snapshot.', multiple=True, metavar='FILE')
@click.option('--device', help='cpu or cuda.  [default: what is there]')
def main(network: str, metrics: str, plugin: tuple[str, ...], **options: Any) -> None:
    """Measure a network snapshot; each metric is printed as a line of JSON.

    \b
    python calc_metrics.py --network=runs/00000-peeps64-squeeze/network-snapshot-000200.safetensors \\
        --metrics=fd_efflite10k_full,pr_efflite10k3_full
    """
    from dnnlib.download import fetch
    from dnnlib.registry import load_file
    from metrics.spec import parse_metric
    from torch_utils.devices import pick_device
    from training.build import resolve_precision
    from training.snapshot import load_generator, load_snapshot

    names = tuple(name for name in metrics.split(',') if name)
    for name in names:
        parse_metric(name)
    for path in plugin:
        load_file(path)
    device = pick_device(options['device'])
    snapshot = load_snapshot(fetch(network))
    dataset = reference_images(snapshot, options['data'], options['mirror'])
    precision = options['precision'] or snapshot.record['config']['precision']
    G = load_generator(snapshot, device, resolve_precision(precision, device))
    evaluate = SnapshotEvaluator(names, dataset, device, options['seed'], batch_size=options['batch'])
    for _, line in evaluate(G):
        click.echo(json.dumps({**line, 'snapshot': snapshot.path.name, 'nimg': snapshot.nimg, 'data': dataset.name}))


def reference_images(snapshot: Any, data: str | None, mirror: bool | None) -> ImageDataset:
    """The data set of the run that made a snapshot, with what the flags change."""
    from dataclasses import replace
    from operator import attrgetter

    from dnnlib.errors import DataError
    from training.dataset import ImageDataset

    cfg, spec = snapshot.config()
    if data is None and cfg.data.path is not None and not Path(cfg.data.path).exists():
        raise DataError(f'{snapshot.path}: the images of its training ({cfg.data.path}) are not here; specify --data')
    changes: dict[str, Any] = {} if data is None else {'path': data, 'subset': None}
    if mirror is not None:
        changes['mirror'] = mirror
    dataset = ImageDataset(replace(cfg.data, **changes), cfg.seed)
    compared = attrgetter('height', 'width', 'channels', 'label_dim')
    if compared(dataset.spec) != compared(spec):
        raise DataError(
            f'--data={dataset.cfg.source}: its images are {dataset.spec}, the network draws {spec}; '
            f'metrics compare images of one shape'
        )
    return dataset


if __name__ == '__main__':
    run_command(main)
