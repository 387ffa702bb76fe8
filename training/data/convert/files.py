"""Pictures in a folder or a zip, labeled by the dataset.json at its root."""

from __future__ import annotations

from training.data.convert.decode import SOURCE_EXTENSIONS
from training.data.convert.labels import labels_of_json
from training.data.convert.source import SourceLabels
from training.data.source import LABELS_NAME, open_source


class FilesSource:
    """A PictureSource over `training.data.source`, which enforces the limits: paths, sizes, ratios, CRCs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._files = open_source(path, SOURCE_EXTENSIONS)

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
