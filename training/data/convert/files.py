"""Pictures in a folder or a zip, labeled by the dataset.json at its root."""

from __future__ import annotations

from training.data.convert.decode import SOURCE_EXTENSIONS
from training.data.convert.labels import labels_of_json
from training.data.convert.source import SourceLabels
from training.data.passed_over import PassedOver
from training.data.source import open_source


class FilesSource:
    """A PictureSource over `training.data.source`, which enforces the limits: paths, sizes, ratios, CRCs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._files = open_source(path, SOURCE_EXTENSIONS)

    @property
    def passed_over(self) -> PassedOver:
        return self._files.passed_over

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        return self._files.name(index)

    def origin(self, index: int) -> str:
        return self._files.origin(index)

    def where(self, index: int) -> str:
        return self._files.where(index)

    def read(self, index: int) -> bytes:
        return self._files.read(index)

    def read_labels(self) -> SourceLabels | None:
        text = self._files.read_labels()
        if text is None:
            return None
        return labels_of_json(text, self._files.label_names(), self._files.labels_where)

    def close(self) -> None:
        self._files.close()
