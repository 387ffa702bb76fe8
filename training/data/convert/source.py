"""The protocol of sources of pictures, and the labels that a source brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


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


class PixelSource:
    """Base of the sources whose pictures are all held in memory."""

    def __init__(self, path: str, pixels: np.ndarray) -> None:
        self.path = path
        self._pixels = pixels  # uint8 [n, H, W, C]

    def __len__(self) -> int:
        return len(self._pixels)

    def name(self, index: int) -> str:
        return f'{index:08d}'

    def where(self, index: int) -> str:
        return f'{self.path}: picture {index}'

    def read(self, index: int) -> np.ndarray:
        pixels: np.ndarray = self._pixels[index]
        return pixels

    def close(self) -> None:
        """Does nothing: no file is open."""
