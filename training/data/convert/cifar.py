"""CIFAR-10 and CIFAR-100 in their published form: a tar of Python pickles, read as data and never executed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dnnlib.errors import DataError
from dnnlib.pickles.inert_numpy import NUMPY_HANDLERS
from dnnlib.pickles.inert_pickle import Limits, read_pickle
from training.data.convert.options import Split
from training.data.convert.source import PixelSource, SourceLabels
from training.data.convert.tar import BoundedReader, Member, open_tar, read_member

_SIDE = 32  # pixels
_LIMITS = Limits(objects=1_000_000)  # names and labels of 50,000 pictures, each with its memo entry
# Files of each split, file of class names, and keys of the dictionaries, in CIFAR-10 and CIFAR-100.
_BATCHES = {
    'cifar-10': {'train': [f'data_batch_{n}' for n in range(1, 6)], 'test': ['test_batch']},
    'cifar-100': {'train': ['train'], 'test': ['test']},
}
_META = {'cifar-10': 'batches.meta', 'cifar-100': 'meta'}
_LABELS = {'cifar-10': 'labels', 'cifar-100': 'fine_labels'}
_CLASSES = {'cifar-10': 'label_names', 'cifar-100': 'fine_label_names'}


class CifarSource(PixelSource):
    """A source of 32x32 RGB pictures. CIFAR-100 has its 100 fine labels."""

    def __init__(self, path: str, split: Split) -> None:
        """Reads all pictures of a split. Raises DataError when the archive is damaged or incomplete."""
        reader, members = open_tar(path)
        files = {member.name.rsplit('/', 1)[-1]: member for member in members}
        kind = 'cifar-10' if 'batches.meta' in files else 'cifar-100'
        splits = ['train', 'test'] if split == 'all' else [split]
        names = [name for part in splits for name in _BATCHES[kind][part]]
        try:
            batches = [_read_dict(reader, files, name, path) for name in names]
            meta = _read_dict(reader, files, _META[kind], path)
        finally:
            reader.close()
        super().__init__(path, np.concatenate([_pixels(batch, path) for batch in batches]))  # [n, H, W, 3]
        self._labels = [label for batch in batches for label in _list_of(batch, _LABELS[kind], int, path)]
        self._classes = [_class_name(name, path) for name in _list_of(meta, _CLASSES[kind], bytes, path)]
        count = len(self)
        if len(self._labels) != count or not all(0 <= label < len(self._classes) for label in self._labels):
            raise DataError(
                f'{path}: its {count} pictures and {len(self._labels)} labels do not fit; download it again'
            )

    def read_labels(self) -> SourceLabels | None:
        return SourceLabels(values=self._labels, classes=self._classes)


def _read_dict(reader: BoundedReader, files: Mapping[str, Member], name: str, path: str) -> dict[str, Any]:
    """Reads the dictionary in one pickle of the tar, and decodes its keys.

    Args:
        reader: The open tar.
        files: Members of the tar by their names without folders.
        name: Name of the file to read.
        path: Name of the tar in messages.
    """
    where = f'{path}: {name}'
    if name not in files:
        raise DataError(f'{where}: is not in the archive; download it again')
    content = read_pickle(read_member(reader, files[name], where), NUMPY_HANDLERS, where=where, limits=_LIMITS)
    if not isinstance(content, dict):
        raise DataError(f'{where}: holds a {type(content).__name__}; expected a dictionary')
    return {key.decode('latin-1') if isinstance(key, bytes) else str(key): value for key, value in content.items()}


def _pixels(batch: dict[str, Any], path: str) -> np.ndarray:
    """Returns the pictures of a batch, uint8 [n, H, W, 3]; the batch stores a picture plane by plane."""
    data = batch.get('data')
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * _SIDE * _SIDE,):
        raise DataError(f'{path}: a batch has no "data" of uint8 [n, {3 * _SIDE * _SIDE}]; download it again')
    return data.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)


def _list_of(content: dict[str, Any], key: str, kind: type, path: str) -> list[Any]:
    """Returns a list of one type from a dictionary; text becomes bytes, as Python 2 wrote it.

    Args:
        content: The dictionary.
        key: Key of the list.
        kind: Type of all elements.
        path: Name of the tar in messages.

    Raises:
        DataError: There is no such list, it is empty, or an element has another type.
    """
    values = content.get(key)
    values = values if type(values) is list else []
    values = [value.encode('utf-8', 'surrogatepass') if isinstance(value, str) else value for value in values]
    if not values or not all(type(value) is kind for value in values):
        raise DataError(f'{path}: has no "{key}" that is a list of {kind.__name__}; download it again')
    return values


def _class_name(name: bytes, path: str) -> str:
    """Returns the name of a class as text. Raises DataError when it is not UTF-8."""
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: has a class name that is not UTF-8 ({name[:40]!r}); download it again') from error
