"""What pictures are read from, behind one protocol, and which kind of source a path means."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dnnlib.errors import ConfigError, DataError
from training.data.convert.options import Split

LISTS = ('.txt', '.csv', '.tsv')
TARS = ('.tar', '.tar.gz', '.tgz')
KINDS = (
    'a folder, a .zip or a .tar(.gz) of pictures; an LSUN folder *_lmdb; cifar-10-python.tar.gz or '
    'cifar-100-python.tar.gz; an MNIST file *-images-idx3-ubyte(.gz); or a list (.txt, .csv, .tsv) of paths'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceLabels:
    """The labels of all pictures of a source, in its order."""

    values: list[int] | list[list[float]]  # class numbers, or vectors
    classes: list[str] | None = None  # the names of the classes 0, 1, ..., where they are known


class PictureSource(Protocol):
    """Pictures by position. Read by one process alone."""

    path: str  # as the user gave it

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Path inside the source, with `/`."""
        ...

    def where(self, index: int) -> str:
        """The picture as messages name it."""
        ...

    def read(self, index: int) -> bytes | np.ndarray:
        """A file's bytes, or pixels uint8 [H, W, C]; raises DataError for a picture that is gone or damaged."""
        ...

    def read_labels(self) -> SourceLabels | None:
        """The labels that the source brings, None where it brings none; raises DataError when some are wanting."""
        ...

    def close(self) -> None:
        """Lets go of file handles."""
        ...


def open_pictures(path: str, split: Split | None = None) -> PictureSource:
    """Opens a source by its name. split: of a CIFAR archive.

    Raises DataError when it is absent, damaged, unsafe or without pictures, ConfigError for an option that it lacks.
    """
    if not os.path.lexists(path):
        raise DataError(f'{path}: no such file or folder (looked for {os.path.abspath(path)})')
    source = _open_kind(path, os.path.basename(os.path.abspath(path)).lower(), split)
    if len(source) == 0:
        source.close()
        raise DataError(f'{path}: holds no pictures; what is read: {KINDS}')
    return source


def _open_kind(path: str, name: str, split: Split | None) -> PictureSource:
    """The source that a path means. Modules are imported only for their kind: some need a package of their own."""
    from training.data.convert import cifar, files, lsun, mnist, picture_list, tar

    if re.fullmatch(r'cifar-100?-python\.(tar\.gz|tgz|tar)', name):
        return cifar.CifarSource(path, split or 'train')
    if split is not None:
        raise ConfigError(f'--split={split}: only CIFAR archives hold a train and a test split; {path} is none')
    if os.path.isdir(path):
        return lsun.LmdbSource(path) if lsun.is_lmdb(path) else files.FilesSource(path)
    if mnist.is_images_file(name):
        return mnist.MnistSource(path)
    if name.endswith('.zip'):
        return files.FilesSource(path)
    if name.endswith(TARS):
        return tar.TarSource(path)
    if name.endswith(LISTS):
        return picture_list.ListSource(path)
    raise DataError(f'{path}: is of no kind that is read. These are: {KINDS}')
