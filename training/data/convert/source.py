"""Protocol of sources of pictures, and the labels of a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.data.passed_over import PassedOver


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceLabels:
    """The labels of all pictures of a source, in its order."""

    values: list[int] | list[list[float]]  # class numbers, or vectors
    classes: list[str] | None = None  # names of the classes 0, 1, ..., if they are known
    note: str = ''  # line for users about their choice


class PictureSource(Protocol):
    """Pictures by position. Only one process reads them."""

    path: str  # the one given by the user

    @property
    def passed_over(self) -> PassedOver:
        """The files of the source that are not used."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Returns the path inside the source, with `/`."""
        ...

    def origin(self, index: int) -> str:
        """Returns the name of the picture in the first source: that of a data set may have recorded its own."""
        ...

    def where(self, index: int) -> str:
        """Returns the name of the picture in messages."""
        ...

    def read(self, index: int) -> bytes | np.ndarray:
        """Returns a file's bytes, or pixels uint8 [H, W, C]. Raises DataError for a missing or damaged picture."""
        ...

    def read_labels(self) -> SourceLabels | None:
        """Returns the labels of the source, or None if it has none. Raises DataError when some are missing."""
        ...

    def close(self) -> None:
        """Closes file handles."""
        ...


class NamedPictures:
    """Base of sources that record no other names than their own."""

    def name(self, index: int) -> str:
        """Returns the path inside the source, with `/`."""
        raise NotImplementedError

    def origin(self, index: int) -> str:
        """Returns the name of the picture."""
        return self.name(index)


class PixelSource(NamedPictures):
    """Base of the sources whose pictures are all held in memory."""

    def __init__(self, path: str, pixels: np.ndarray) -> None:
        """Takes the path as given by the user, and all pictures, uint8 [n, H, W, C]."""
        self.path = path
        self.passed_over = PassedOver()
        self._pixels = pixels  # [n, H, W, C]

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
        """Closes nothing: no file is open."""
