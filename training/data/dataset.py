"""Images and labels of a data set in the StyleGAN layout: a folder or a zip, `dataset.json`, images of one kind.

Opening a data set reads the index, the labels and the first image; every other image is checked when it is read. All
images have the same height, width, number of channels and bits per channel.

Letters: N batch, C image channels, H and W image height and width (what `shapes.split_size` takes).
"""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL

from dnnlib.errors import ConfigError, DataError, UserError
from dnnlib.printable import printable
from training.data import identity
from training.data.labels import class_names, label_width, parse_labels, to_vectors, unseen_classes
from training.data.shapes import nearest_size, split_size
from training.data.source import open_source
from training.data.stored_image import STORED_EXTENSIONS, Layout, StoredImage, open_stored, to_8_bits

if TYPE_CHECKING:
    from training.interface import ImageSpec

EMBEDDED = pathlib.Path(__file__).with_name('embedded') / 'peeps64.zip'
MIN_RESOLUTION = 8  # every network doubles its base at least once


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """The images that a run trains on."""

    path: str | None = None  # folder or zip; None is the embedded set, 4,096 drawings of 64x64 in 7 classes
    cond: bool = False  # train on the labels in dataset.json
    subset: int | None = None  # number of images, chosen by the run's seed; None: all
    mirror: bool = False  # add every image flipped left to right
    # Train at a smaller size than the data: images are box-averaged to this power of two. It is the side of square
    # images; for others it is ImageSpec.resolution, and their base is unchanged. None: as stored.
    resolution: int | None = None

    def __post_init__(self) -> None:
        if self.path == '':
            raise ConfigError('--data is empty; give a folder or a zip, or leave it out for the embedded set')
        if self.subset is not None and self.subset < 1:
            raise ConfigError(f'--subset={self.subset}: must be at least 1; leave it out to use all images')
        res = self.resolution
        if res is not None and (res < MIN_RESOLUTION or res & (res - 1)):
            raise ConfigError(f'data.resolution={res}: must be a power of two, at least {MIN_RESOLUTION}')

    @property
    def source(self) -> str:
        """The folder or zip to read."""
        return str(EMBEDDED) if self.path is None else self.path

    @property
    def name(self) -> str:
        """The short name of the data set: the name of its folder or zip, without `.zip`."""
        return pathlib.Path(os.path.abspath(self.source)).name.removesuffix('.zip')


class ImageDataset:
    """Images uint8 or uint16 [C, H, W] and labels float32 [label_dim], by index. Picklable for worker processes.

    Reading an image may raise DataError, which names it.
    """

    def __init__(self, cfg: DataConfig, seed: int = 0, *, any_size: bool = False) -> None:
        """Opens the data set. Raises DataError or ConfigError.

        Args:
            cfg: The images.
            seed: Chooses the images of `--subset`.
            any_size: Accept images of a size that cannot be trained on; they are measured only.
        """
        self.cfg = cfg
        self.seed = seed
        self._any_size = any_size
        self.name = cfg.name
        self._source = open_source(cfg.source, STORED_EXTENSIONS)
        try:
            self._layout, self._stored_resolution, self._base = self._inspect_first()
            self._labels = self._read_labels() if cfg.cond else None
            self._label_dim = 0 if self._labels is None else label_width(self._labels)
            self._chosen = self._choose(seed)  # [num_files or subset]: position in the source
        except UserError:
            self._source.close()  # the caller receives no object to close
            raise

    @property
    def spec(self) -> ImageSpec:
        """The facts from which networks are built."""
        from training.interface import ImageSpec  # a local import, so that reading configs does not import torch

        return ImageSpec(
            resolution=self.cfg.resolution or self._stored_resolution,
            channels=self._layout.channels,
            label_dim=self._label_dim,
            num_images=len(self),
            base=self._base,
            bits=self._layout.bits,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes by their numbers; none without labels or if dataset.json does not name all."""
        text = None if self._labels is None else self._source.read_labels()
        return () if text is None else class_names(text, self._source.labels_where, self._label_dim)

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for users about what is not used, and about choices that they may not have meant."""
        path, notes = self.cfg.source, []
        if self._source.passed_over:
            notes.append(f'{path}: {self._source.passed_over.line()}')
        if self._labels is not None and self._labels.ndim == 1:
            counts = Counter(self._labels[self._chosen].tolist())
            notes += [f'{path}: {line}' for line in unseen_classes(counts)]
        return tuple(map(printable, notes))

    def __len__(self) -> int:
        return len(self._chosen) * (2 if self.cfg.mirror else 1)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.image(index), self.label(index)

    def filename(self, index: int) -> str:
        """Returns the path of an image inside the folder or zip; an x-flip has the name of its original."""
        return self._source.name(self._position(index))

    def image(self, index: int) -> np.ndarray:
        """Returns uint8 [C, H, W], uint16 if spec.bits is 16. The second half of a mirrored set holds the x-flips."""
        pixels = self._decode(self._position(index))  # [C, H, W]
        return pixels if index < len(self._chosen) else np.ascontiguousarray(pixels[:, :, ::-1])

    def label(self, index: int) -> np.ndarray:
        """Returns float32 [label_dim]: one-hot for classes, the vector itself for vectors, empty without `cond`."""
        label: np.ndarray = self.labels([index])[0]
        return label

    def labels(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns float32 [n, label_dim], see `label`."""
        if self._labels is None:
            return np.zeros([len(indices), 0], dtype=np.float32)
        positions = [self._position(index) for index in indices]
        return to_vectors(self._labels[positions], self._label_dim)

    def classes(self, indices: Sequence[int] | np.ndarray) -> np.ndarray | None:
        """Returns the classes of images, int64 [n]; None if they have no labels or the labels are vectors."""
        if self._labels is None or self._labels.ndim != 1:
            return None
        found: np.ndarray = self._labels[[self._position(index) for index in indices]]
        return found

    def parts(self, parts: Iterable[range]) -> Iterator[np.ndarray]:
        """Yields the images of each part, uint8 [N, C, H, W], as metrics see them: 16 bits are rounded to 8."""
        for part in parts:
            yield np.stack([to_8_bits(self.image(index)) for index in part])

    def content_digest(self) -> str:
        """Returns the sha256, in hex, of everything that decides the images and labels, by index.

        Every call reads every file in use and decodes none: this takes seconds where decoding takes minutes, and the
        digest is never stale. Sizes, dates and CRCs are faster to read, but may stay the same while the pixels change.
        """
        cfg = self.cfg
        facts = (
            f'v2 Pillow {PIL.__version__} resolution={cfg.resolution} mirror={cfg.mirror} labels={self._label_dim}\n'
        )
        digest = hashlib.sha256(facts.encode())  # decoders of JPEG and WebP differ between versions of Pillow
        for position in self._chosen.tolist():
            data = self._source.read(position)
            digest.update(f'{len(data)} {self._source.name(position)}\n'.encode('utf-8', 'surrogateescape'))
            digest.update(data)
        if self._labels is not None:
            digest.update(np.ascontiguousarray(self._labels[self._chosen]).view(np.uint8).data)
        return digest.hexdigest()

    @functools.cached_property
    def listing_digests(self) -> dict[str, Any]:
        """The digests by which a moved set is known again: of names, sizes, CRCs and labels, at their first use."""
        return identity.listing_digests(self._source)

    @functools.cached_property
    def files_digest(self) -> str:
        """The digest of the names and bytes of all files, and of the labels; the first use reads everything."""
        return identity.content_digest(self._source)

    def close(self) -> None:
        """Closes the file handle of the zip; the next read opens it again."""
        self._source.close()

    def _position(self, index: int) -> int:
        """Returns the position of image `index` in the source."""
        if not 0 <= index < len(self):
            raise IndexError(f'image {index} of a data set of {len(self)}')
        return int(self._chosen[index % len(self._chosen)])

    def _choose(self, seed: int) -> np.ndarray:
        """Returns the sorted positions of the images in use, int64 [n]: all, or StyleGAN2-ADA's choice for the seed."""
        order = np.arange(len(self._source))
        subset = self.cfg.subset
        if subset is None:
            return order
        if subset > len(order):
            raise ConfigError(f'--subset={subset}: must be between 1 and {len(order)}, the images in {self.cfg.source}')
        np.random.RandomState(seed).shuffle(order)
        return np.sort(order[:subset])

    def _read_labels(self) -> np.ndarray:
        """Returns the labels of all images: classes int64 [num_files], or vectors float32 [num_files, label_dim]."""
        path = self.cfg.source
        text = self._source.read_labels()
        labels = None
        if text is not None:
            labels = parse_labels(text, self._source.label_names(), self._source.labels_where)
        if labels is None:
            fault = 'there is no dataset.json at its root' if text is None else 'its dataset.json says "labels": null'
            way_out = conversion_command(path, '-labels', ' --labels=folders')
            raise ConfigError(
                f'--cond=True requires labels specified in dataset.json; {path}: {fault}. '
                f'If each class has a folder: {way_out}'
            )
        if labels.ndim == 1 and not labels.any():
            raise ConfigError(f'--cond=True needs two classes or more; all images in {path} are class 0')
        return labels

    def _inspect_first(self) -> tuple[Layout, int, tuple[int, int]]:
        """Returns layout, resolution and base of the first image. The error of an unusable one names the way out."""
        stored = self._open(0)
        layout = stored.layout
        split = split_size(layout.height, layout.width)
        if split is None and self._any_size and self.cfg.resolution is None:
            split = 4, (layout.height, layout.width)  # `ImageSpec` is its base at resolution 4
        if split is None:
            needs = 'both sides must be 4 to 64 pixels doubled equally often, as 256x256, 384x256 and 1280x704 are'
            way_out = resize_command(self.cfg.source, *nearest_size(layout.height, layout.width))
            raise DataError(f'{self._source.where(0)}: is {layout.size}; to train, {needs}. Try: {way_out}')
        resolution, base = split
        wanted = self.cfg.resolution
        if wanted is not None and wanted > resolution:
            limit = f'the images in {self.cfg.source} are {layout.size}, and are never enlarged'
            raise ConfigError(f'data.resolution={wanted}: {limit}; choose {resolution} or less')
        stored.decode()
        return layout, resolution, base

    def _decode(self, position: int) -> np.ndarray:
        """Returns the pixels of file `position` at the resolution in use, uint8 or uint16 [C, H, W]."""
        stored = self._open(position)
        where, this, first = self._source.where(position), stored.layout, self._layout
        if (this.height, this.width) != (first.height, first.width):
            fault = f'is {this.size}, but the first image ({self._source.name(0)}) is {first.size}; all must be equal'
            raise DataError(f'{where}: {fault}. Try: {resize_command(self.cfg.source, first.height, first.width)}')
        if this != first:
            fault = f'is {this.kind}, but the first image ({self._source.name(0)}) is {first.kind}; all must be equal'
            raise DataError(f'{where}: {fault}. Try: {conversion_command(self.cfg.source, "-rgb")}')
        return stored.decode(self._stored_resolution // (self.cfg.resolution or self._stored_resolution))

    def _open(self, position: int) -> StoredImage:
        """Reads file `position` and checks that its kind can be trained on."""
        data = self._source.read(position)
        name, where = self._source.name(position), self._source.where(position)
        return open_stored(data, name, where, way_out=conversion_command(self.cfg.source, '-rgb'))


def resize_command(path: str, height: int, width: int) -> str:
    """Returns the command that makes a data set of another size.

    Args:
        path: Folder or zip to convert.
        height: Height of the new images in pixels.
        width: Width of the new images in pixels.
    """
    size = f'{width}x{height}'
    return conversion_command(path, f'-{size}', f' --resolution={size} --transform=center-crop')


def conversion_command(path: str, suffix: str, options: str = '') -> str:
    """Returns the command that makes a usable data set of another.

    Args:
        path: Folder or zip to convert.
        suffix: Ending of the new zip's name, such as '-rgb'.
        options: Further options, with a leading space.
    """
    dest = f'{path.rstrip("/").removesuffix(".zip")}{suffix}.zip'
    return f'python dataset_tool.py --source={shlex.quote(path)} --dest={shlex.quote(dest)}{options}'


def read_spec(cfg: DataConfig) -> ImageSpec:
    """Returns the facts of a data set, from its index, its labels and its first image."""
    dataset = ImageDataset(cfg)
    dataset.close()
    return dataset.spec
