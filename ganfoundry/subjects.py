"""Subjects of measurements (a generator's images, finished images) and the real images that they are compared with.

Training and metrics meet here; neither package knows the other. Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from dnnlib.errors import ConfigError
from metrics.evaluate import GeneratedClasses, GeneratedStreams
from metrics.measurement import Classes
from metrics.reference import Reference
from metrics.spec import MoveSpec, PathSpec
from metrics.streams.images import ImageStream
from metrics.streams.moves import BATCH, MoveStream
from metrics.streams.paths import EPSILON, PairStream, Paths
from training.data.dataset import ImageDataset
from training.interface import ImageSpec
from training.run.moved_sampling import generated_moves
from training.run.sampling import generated, generated_classes, generated_paths

# Pixels that a generator draws at a time, at most 64 images: the activations of a large one fit into 8 GB.
PIXELS_AT_A_TIME = {'cpu': 2**20, 'cuda': 2**24}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Something that can be measured.

    Attributes:
        fakes: (num_images, seed) -> stream of images.
        paths: Streams of pairs of images for PPL and equivariance; None for finished images.
        record: Returns the fields of the provenance that describe the origin of the images; called after measuring.
        classes: (num_images, seed) -> the classes of the images; its result is None if they have none.
    """

    fakes: GeneratedStreams
    paths: Paths | None
    record: Callable[[], dict[str, Any]]
    classes: GeneratedClasses


def of_generator(
    G: torch.nn.Module,
    spec: ImageSpec,
    labels: ImageDataset | None,
    *,
    precision: str,
    batch_size: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Subject:
    """Returns the images of a generator as a subject.

    Args:
        G: The generator.
        spec: Facts of the images that it draws.
        labels: Labels are drawn from those of this data set; None for a generator without labels.
        precision: For the record.
        batch_size: Images drawn at a time; None for the default of their size.
        check: Called before each batch; it may raise.
    """
    device = next(G.parameters()).device
    batch = batch_size or draw_batch(spec, device)

    def fakes(num_images: int, seed: int) -> ImageStream:
        return functools.partial(generated, G, labels, num_images=num_images, seed=seed, batch_size=batch, check=check)

    def paths(path: PathSpec | MoveSpec, seed: int, num_pairs: int) -> PairStream | MoveStream:
        if isinstance(path, MoveSpec):
            return generated_moves(
                G, labels, spec, motion=path.motion, num_images=num_pairs, seed=seed, batch_size=BATCH, check=check
            )

        def pairs(parts: Iterable[range]) -> Iterator[torch.Tensor]:
            return generated_paths(
                G,
                labels,
                parts,
                space=path.space,
                sampling=path.sampling,
                num_pairs=num_pairs,
                seed=seed,
                epsilon=EPSILON,
                check=check,
            )

        pairs(())  # raises for paths that G cannot follow
        return pairs

    def record() -> dict[str, Any]:
        digest = {'labels_sha256': _content(labels)} if labels is not None and labels.spec.label_dim else {}
        # Numbers of earlier versions, which lack the field, have TF32 in the generator's float32 blocks on a GPU.
        tf32 = {'tf32': False} if device.type == 'cuda' else {}
        return {'precision': precision, **tf32, 'batch': batch, **digest}

    def classes(num_images: int, seed: int) -> torch.Tensor | None:
        return generated_classes(labels, num_images=num_images, seed=seed, batch_size=batch)

    return Subject(fakes=fakes, paths=paths, record=record, classes=classes)


def of_images(images: ImageDataset) -> Subject:
    """Returns finished images, in their order, as a subject; they do not depend on the seed."""
    classes = real_classes(images)
    return Subject(
        fakes=lambda num_images, seed: images.parts,
        paths=None,
        record=lambda: {'images': images.name, 'images_sha256': _content(images)},
        classes=lambda num_images, seed: classes(num_images),
    )


def draw_batch(spec: ImageSpec, device: torch.device) -> int:
    """Returns the images drawn at a time; the noise of each batch has a seed, so a number depends on this."""
    return min(max(PIXELS_AT_A_TIME.get(device.type, 2**20) // spec.pixels, 1), 64)


def reference(dataset: ImageDataset) -> Reference:
    """Returns a data set as metrics see it: all its images, x-flips included."""
    return Reference(
        images=dataset.parts,
        num_images=len(dataset),
        content=dataset.content_digest,
        name=dataset.name,
        classes=real_classes(dataset),
    )


def real_classes(dataset: ImageDataset) -> Classes:
    """Returns a function to the classes of the first images of a data set: those of its file, even if `cond` is off.

    The function returns None for a data set without labels, and raises DataError if its labels cannot be used.
    """

    @functools.cache
    def labeled() -> ImageDataset | None:
        if dataset.cfg.cond:
            return dataset
        try:
            opened = ImageDataset(replace(dataset.cfg, cond=True), dataset.seed, any_size=True)
        except ConfigError:  # it has no labels, or a single class
            return None
        opened.close()  # its labels are in memory
        return opened

    def classes(num_images: int) -> torch.Tensor | None:
        known = labeled()
        found = None if known is None else known.classes(range(num_images))
        return None if found is None else torch.from_numpy(found)

    return classes


def whole(dataset: ImageDataset) -> ImageDataset:
    """Returns the data set without --subset and x-flips, the reference of `_full` metrics."""
    cfg = dataset.cfg
    if cfg.subset is None and not cfg.mirror:
        return dataset
    return ImageDataset(replace(cfg, subset=None, mirror=False, cond=False), any_size=True)


@functools.cache
def _content(dataset: ImageDataset) -> str:
    """Returns the digest of a data set, computed once, because it reads every file."""
    return dataset.content_digest()
