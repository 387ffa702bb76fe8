"""Data sets of a measurement: the real images, and the source of the labels. Only those that are read are opened.

Letters: H and W image size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dnnlib.errors import ConfigError, DataError
from training.config import RunConfig
from training.data.dataset import DataConfig, ImageDataset, resize_command
from training.data.shapes import split_size
from training.interface import ImageSpec
from training.legacy.convert import UNKNOWN_DATA
from training.run.snapshot import Snapshot

Notify = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSets:
    """The data sets that a network is measured with.

    Attributes:
        reals: The real images; None if no metric compares with them.
        labels: The source of the labels; None for a network without labels.
    """

    reals: ImageDataset | None
    labels: ImageDataset | None


def data_sets(
    snapshot: Snapshot, data: str | None, mirror: bool | None, *, needs_reals: bool, notify: Notify
) -> DataSets:
    """Opens the data sets that a network is measured with: those of its training, as changed by flags.

    Args:
        snapshot: The network.
        data: Other real images, None for those of the training. Labels are drawn from them if they fit the network.
        mirror: Whether to add x-flips, None for the choice of the training.
        needs_reals: A metric compares with real images.
        notify: Receives a sentence about images that are reduced, and about labels from elsewhere.

    Raises:
        DataError: A data set that is read is absent, or its images or labels do not fit the network.
    """
    cfg, spec = snapshot.config()
    conditional = spec.label_dim > 0
    cfg = cfg if mirror is None else replace(cfg, data=replace(cfg.data, mirror=mirror))
    if data is not None:
        return _of_other_data(snapshot, cfg, data, needs_reals=needs_reals, notify=notify)
    trained = needs_reals and cfg.metric_data is None
    own = _trained_on(snapshot, cfg) if conditional or trained else None
    if conditional:
        _check_labels(own, spec)
    reals = None
    if needs_reals:
        reals = metric_data(cfg, spec, notify) if own is None or not trained else in_size(own, spec, '--data', notify)
    return DataSets(reals=reals, labels=own if conditional else None)


def metric_data(cfg: RunConfig, spec: ImageSpec, notify: Notify) -> ImageDataset | None:
    """Returns --metric-data of a run, in the size of its images; None if it is not given.

    Args:
        cfg: The run.
        spec: Facts of the images that the run draws.
        notify: As in `data_sets`.
    """
    if cfg.metric_data is None:
        return None
    images = open_any_size(DataConfig(path=cfg.metric_data, resolution=cfg.data.resolution))
    return in_size(images, spec, '--metric-data', notify)


def reference_data(cfg: RunConfig, dataset: ImageDataset, notify: Notify = lambda text: None) -> ImageDataset:
    """Returns the real images of a run's metrics: --metric-data, else the training set. DataError for another size."""
    reals = metric_data(cfg, dataset.spec, notify)
    return dataset if reals is None else reals


def open_any_size(cfg: DataConfig, seed: int = 0) -> ImageDataset:
    """Opens images to measure; their size need not be one that can be trained on."""
    return ImageDataset(cfg, seed, any_size=True)


def in_size(reals: ImageDataset, drawn: ImageSpec, option: str, notify: Notify) -> ImageDataset:
    """Returns real images in the size of the generated ones. Channels may differ: detectors see RGB.

    Larger images are averaged, as by --resolution, if their sides are those of the generated ones, doubled several
    times.

    Args:
        reals: The real images.
        drawn: Facts of the generated images.
        option: The option that names the reals, for messages.
        notify: Receives a sentence about images that are reduced.

    Raises:
        DataError: Another size; the message has the command that makes a data set of the right one.
    """
    found, source = reals.spec, reals.cfg.source
    if (found.height, found.width) == (drawn.height, drawn.width):
        return reals
    sizes = f'its images are {found.width}x{found.height} pixels, the generated ones {drawn.width}x{drawn.height}'
    if found.base == drawn.base and found.resolution > drawn.resolution:
        notify(f'{option}={source}: {sizes}; the real images are averaged to that size')
        return ImageDataset(replace(reals.cfg, resolution=drawn.resolution), reals.seed)
    way_out = 'convert both to one size'
    if split_size(drawn.height, drawn.width) is not None:
        way_out = f'Try: {resize_command(source, drawn.height, drawn.width)}'
    raise DataError(f'{option}={source}: {sizes}; metrics compare images of one size. {way_out}')


def _of_other_data(snapshot: Snapshot, cfg: RunConfig, data: str, *, needs_reals: bool, notify: Notify) -> DataSets:
    """Returns the data sets of a measurement with --data; the arguments are those of `data_sets`."""
    _, spec = snapshot.config()
    given = replace(cfg.data, path=data, subset=None, cond=False, resolution=None)
    if not needs_reals and not spec.label_dim:
        notify(f'--data={data}: is not read, because no metric here compares with real images')
        return DataSets(reals=None, labels=None)
    labels = None
    if spec.label_dim:
        try:
            labels = open_any_size(replace(given, cond=True), cfg.seed)
            _check_labels(labels, spec)
        except ConfigError:  # no labels
            labels = _trained_labels(snapshot, cfg, data, notify)
            reals = open_any_size(given) if needs_reals else None
        else:
            reals = labels if needs_reals else None
    else:
        reals = open_any_size(given)
    return DataSets(reals=None if reals is None else in_size(reals, spec, '--data', notify), labels=labels)


def _trained_labels(snapshot: Snapshot, cfg: RunConfig, data: str, notify: Notify) -> ImageDataset:
    """Returns the data set of the training as source of the labels, because --data has none."""
    _, spec = snapshot.config()
    try:
        own = _trained_on(snapshot, cfg)
    except DataError:
        raise DataError(
            f'--data={data}: has no labels, and the network is conditional: it draws the labels of its data set, which '
            f'is not here ({cfg.data.path}); give a data set whose dataset.json has labels of {spec.label_dim} entries'
        ) from None
    _check_labels(own, spec)
    notify(f'--data={data}: has no labels of classes; the network draws those of its training, {own.cfg.source}')
    return own


def _trained_on(snapshot: Snapshot, cfg: RunConfig) -> ImageDataset:
    """Opens the data set that a network was trained on. Raises DataError if it is not here."""
    path = cfg.data.path
    if path == UNKNOWN_DATA:
        raise DataError(f'{snapshot.path}: does not name the images of its training; specify --data')
    if path is not None and not Path(path).exists():
        raise DataError(f'{snapshot.path}: the images of its training ({path}) are not here; specify --data')
    return open_any_size(cfg.data, cfg.seed)


def _check_labels(dataset: ImageDataset | None, spec: ImageSpec) -> None:
    """Raises DataError for labels of another width than those of the network."""
    assert dataset is not None
    if dataset.spec.label_dim != spec.label_dim:
        raise DataError(
            f'--data={dataset.cfg.source}: its labels have {dataset.spec.label_dim} entries, those of the network '
            f'{spec.label_dim}; draw from labels that it knows'
        )
