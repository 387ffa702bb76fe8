"""Images that a caller hands over in batches, as metrics read them.

Letters: N images in a batch, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from dnnlib.errors import DataError
from training.interface import ImageSpec


class ImageFile:
    """Images in a temporary file: an iterator can be read once, metrics with several detectors read several times."""

    def __init__(self, path: Path, spec: ImageSpec) -> None:
        """Notes the file to write, and the facts of the real images, whose shape the others must have."""
        self._path = path
        self._shape = (spec.channels, spec.height, spec.width)
        self.num_images = 0

    def write(self, batches: Iterable[np.ndarray | torch.Tensor], most: int) -> None:
        """Writes up to `most` images. Batches are uint8 [N, H, W, C], as from `Network.images`."""
        with self._path.open('wb') as file:
            for batch in batches:
                images = self._checked(batch)[: most - self.num_images]  # [N, C, H, W]
                file.write(images.tobytes())
                self.num_images += len(images)
                if self.num_images == most:
                    break

    def parts(self, parts: Iterable[range]) -> Iterator[np.ndarray]:
        """Yields the images at the positions of each part, uint8 [N, C, H, W]."""
        images = np.memmap(self._path, np.uint8, 'r', shape=(self.num_images, *self._shape))
        for part in parts:
            yield np.array(images[part.start : part.stop])

    def _checked(self, batch: np.ndarray | torch.Tensor) -> np.ndarray:
        images = batch.detach().cpu().numpy() if isinstance(batch, torch.Tensor) else np.asarray(batch)
        c, h, w = self._shape
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (h, w, c):
            raise DataError(
                f'a batch is {images.dtype} {list(images.shape)}; metrics take uint8 [N, {h}, {w}, {c}], the shape of '
                f'the real images'
            )
        return images.transpose(0, 3, 1, 2)  # [N, C, H, W]
