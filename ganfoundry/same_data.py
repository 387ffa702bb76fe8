"""Comparison of the data of a continued run with those that it began with: by contents, wherever they are now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dnnlib.errors import ConfigError, DataError
from training.config import RunConfig
from training.data.bad_images import ALWAYS_ALLOWED
from training.data.dataset import DataConfig, ImageDataset
from training.interface import ImageSpec

ANYWAY = '--set data_check=off continues with the present images'
FILES = {'listing': 'names, sizes, checksums or labels of its files', 'content': 'the contents of its files'}


def data_digests(cfg: RunConfig, dataset: ImageDataset) -> dict[str, Any]:
    """Returns the digests of a run's images for config.json: 'data', and 'metric_data' if the run has some."""
    content = {'content': dataset.files_digest} if cfg.data_check == 'content' else {}
    digests: dict[str, Any] = {'data': dataset.listing_digests | content}
    if cfg.metric_data is not None:
        digests['metric_data'] = {'listing': listing_of(cfg.metric_data)}
    return digests


def listing_of(path: str) -> str:
    """Returns the digest of the listing of a folder or zip."""
    dataset = ImageDataset(DataConfig(path=path))
    try:
        return str(dataset.listing_digests['listing'])
    finally:
        dataset.close()


def moved(cfg: RunConfig, path: str | None) -> RunConfig:
    """Returns the config with the data at another path, None: at the recorded one."""
    if path is None or str(Path(path).absolute()) == cfg.data.path:
        return cfg
    return replace(cfg, data=replace(cfg.data, path=str(Path(path).absolute())))


def open_data(cfg: RunConfig) -> ImageDataset:
    """Opens the data of a continued run. Raises DataError with a way out if they are gone."""
    for path, option in ((cfg.data.path, '--data'), (cfg.metric_data, '--metric-data')):
        if path is not None and not Path(path).exists():
            raise DataError(
                f'{path}: the images of {option} are not there any more; if they were moved or renamed, '
                f'{option}=NEW_PATH continues the run with them'
            )
    return ImageDataset(cfg.data, cfg.seed)


def check_data(
    record: dict[str, Any], old: RunConfig, cfg: RunConfig, dataset: ImageDataset, spec: ImageSpec
) -> tuple[str, ...]:
    """Compares the data of a continued run with those that it began with.

    Args:
        record: Content of config.json.
        old: Config that it holds.
        cfg: Config of this launch, perhaps with another path.
        dataset: The data at that path.
        spec: Facts of the data that the run began with.

    Returns:
        Notes for the log.

    Raises:
        ConfigError: If the data are others, and `data_check` is not 'off'; or if they do not fit the networks.
    """
    where = dataset.cfg.source
    given = where if old.data.path == cfg.data.path else f'--data={where}'
    comparable = replace(spec, num_images=dataset.spec.num_images) if cfg.data_check == 'off' else spec
    if dataset.spec != comparable:
        raise ConfigError(
            f'{given}: other images than those that this run began with: {_words(spec)} then, '
            f'{_words(dataset.spec)} now'
        )
    known = record.get('data')
    known = known if isinstance(known, dict) else {}
    fault = _difference(known, cfg, dataset, has_moved=given != where)
    if fault is None and given != where:
        return (f'{given}: the same images as {old.data.source}, where the run began with them',)
    if fault is None:
        repaired = cfg.data_check == 'listing' and num_repaired(known, dataset.listing_digests)
        return (f'{given}: a few images have been replaced or repaired since the run began',) if repaired else ()
    if cfg.data_check == 'off':
        return (f'{given}: {fault}; the run continues with them, since data_check is off',)
    raise ConfigError(f'{given}: {fault}; {ANYWAY}')


def check_metric_data(record: dict[str, Any], cfg: RunConfig) -> tuple[str, ...]:
    """Returns a note if the real images of --metric-data are others than before."""
    known = record.get('metric_data')
    if cfg.metric_data is None or not isinstance(known, dict):
        return ()
    if known.get('listing') == listing_of(cfg.metric_data):
        return ()
    return (f'--metric-data={cfg.metric_data}: other images than before; metrics begin a new curve',)


def num_repaired(known: dict[str, Any], now: dict[str, Any]) -> int:
    """Returns the number of parts of a listing that have changed, 0 if it is none or too many for a few repairs."""
    before, after = known.get('parts'), now['parts']
    if known.get('names') != now['names'] or not isinstance(before, list) or len(before) != len(after):
        return 0
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    return changed if changed <= ALWAYS_ALLOWED else 0


def _difference(known: dict[str, Any], cfg: RunConfig, dataset: ImageDataset, *, has_moved: bool) -> str | None:
    """Returns the difference between recorded digests and a data set as a clause, None if they are equal."""
    began = 'those that this run began with'
    if cfg.data_check == 'content' and 'content' in known:
        return None if dataset.files_digest == known['content'] else f'{FILES["content"]} differ from {began}'
    if cfg.data_check == 'content':
        return 'config.json has no digest of their contents, which a run records that began with data_check=content'
    now = dataset.listing_digests
    listing = str(now['listing'])
    if 'listing' not in known:
        return (
            f'whether they are {began} is unknown, since config.json is of a version without digests'
            if has_moved
            else None
        )
    before = str(known['listing'])
    if before.partition(':')[0] != listing.partition(':')[0]:
        return f'{began} were a {before.partition(":")[0]}, these are a {listing.partition(":")[0]}'
    if listing == before or (not has_moved and num_repaired(known, now)):
        return None
    return f'{FILES["listing"]} differ from {began}'


def _words(spec: ImageSpec) -> str:
    labels = f', {spec.label_dim} classes or label entries' if spec.label_dim else ''
    bits = '' if spec.bits == 8 else f' of {spec.bits} bits'
    return f'{spec.num_images} images of {spec.width}x{spec.height}, {spec.channels} channels{bits}{labels}'
