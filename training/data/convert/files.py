"""Pictures in a folder or a zip, labelled by the dataset.json at its root."""

from __future__ import annotations

import json

from dnnlib.errors import DataError
from training.data.convert.decode import EXTENSIONS
from training.data.convert.sources import SourceLabels
from training.data.labels import parse_labels
from training.data.source import LABELS_NAME, open_source


class FilesSource:
    """A PictureSource over `training.data.source`, which holds the limits: paths, sizes, ratios, CRCs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._files = open_source(path, EXTENSIONS)

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        return self._files.name(index)

    def where(self, index: int) -> str:
        return self._files.where(index)

    def read(self, index: int) -> bytes:
        return self._files.read(index)

    def read_labels(self) -> SourceLabels | None:
        text = self._files.read_labels()
        if text is None:
            return None
        return labels_of_json(text, [self.name(index) for index in range(len(self))], f'{self.path}: {LABELS_NAME}')

    def close(self) -> None:
        self._files.close()


def labels_of_json(text: bytes, names: list[str], where: str) -> SourceLabels | None:
    """The labels in a dataset.json, and the names of its classes under "classes" where it has them."""
    values = parse_labels(text, names, where)
    if values is None:
        return None
    classes = json.loads(text.decode('utf-8-sig')).get('classes')
    if values.ndim == 2 or classes is None:
        return SourceLabels(values=values.tolist())
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise DataError(f'{where}: "classes" must be a list of names, one for every class number')
    if len(classes) <= values.max():
        raise DataError(f'{where}: "classes" names {len(classes)} classes, but there is a label {values.max()}')
    return SourceLabels(values=values.tolist(), classes=classes)
