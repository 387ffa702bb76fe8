"""Kinds of sources of pictures, and their detection by path."""

from __future__ import annotations

import os
import re

from dnnlib.errors import ConfigError, DataError
from training.data.convert.cifar import CifarSource
from training.data.convert.files import FilesSource
from training.data.convert.lsun import LmdbSource, is_lmdb
from training.data.convert.mnist import MnistSource, is_images_file
from training.data.convert.options import Split
from training.data.convert.picture_list import ListSource
from training.data.convert.source import PictureSource
from training.data.convert.tar import TarSource
from training.data.source import absent

_LISTS = ('.txt', '.csv', '.tsv')
_TARS = ('.tar', '.tar.gz', '.tgz')
_KINDS = (
    'a folder, a .zip or a .tar(.gz) of pictures; an LSUN folder *_lmdb; cifar-10-python.tar.gz or '
    'cifar-100-python.tar.gz; an MNIST file *-images-idx3-ubyte(.gz); or a list (.txt, .csv, .tsv) of paths'
)


def open_pictures(path: str, split: Split | None = None) -> PictureSource:
    """Opens a source by its name; `split` applies to CIFAR archives.

    Raises DataError when the source is absent, damaged, unsafe or without pictures, and ConfigError for a split of a
    source without splits.
    """
    if not os.path.lexists(path):
        raise DataError(absent(path))
    source = _open_kind(path, os.path.basename(os.path.abspath(path)).lower(), split)
    if len(source) == 0:
        source.close()
        raise DataError(f'{path}: holds no pictures; supported sources are {_KINDS}')
    return source


def _open_kind(path: str, name: str, split: Split | None) -> PictureSource:
    """Opens a source of the kind that its name denotes.

    Args:
        path: Path as given by the user.
        name: Last part of the path in lower case.
        split: Split of a CIFAR archive; None: not given.
    """
    if re.fullmatch(r'cifar-100?-python\.(tar\.gz|tgz|tar)', name):
        return CifarSource(path, split or 'train')
    if split is not None:
        raise ConfigError(f'--split={split}: only CIFAR archives hold a train and a test split; {path} is not one')
    if os.path.isdir(path):
        return LmdbSource(path) if is_lmdb(path) else FilesSource(path)
    if is_images_file(name):
        return MnistSource(path)
    if name.endswith('.zip'):
        return FilesSource(path)
    if name.endswith(_TARS):
        return TarSource(path)
    if name.endswith(_LISTS):
        return ListSource(path)
    raise DataError(f'{path}: is not a supported source; supported sources are {_KINDS}')
