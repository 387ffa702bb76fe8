"""Images that a caller hands over in batches, as metrics read them.

Letters: N images in a batch, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from dnnlib.errors import DataError


class ImageFile:
    """Images in a temporary file: an iterator can be read once, metrics with several detectors read several times."""

    def __init__(self, path: Path, size: tuple[int, int] | None) -> None:
        """Notes the file to write, and height and width of the real images; None if there are none.

        The first batch decides the number of channels, and the size if there are no real images.
        """
        self._path = path
        self._size = size
        self._shape: tuple[int, ...] = ()  # (H, W, C) of the first batch
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
        height, width, channels = self._shape
        images = np.memmap(self._path, np.uint8, 'r', shape=(self.num_images, channels, height, width))
        for part in parts:
            yield np.array(images[part.start : part.stop])

    def _checked(self, batch: np.ndarray | torch.Tensor) -> np.ndarray:
        images = batch.detach().cpu().numpy() if isinstance(batch, torch.Tensor) else np.asarray(batch)
        fits = images.dtype == np.uint8 and images.ndim == 4 and self._size in (None, images.shape[1:3])
        if not fits or self._shape not in ((), images.shape[1:]):
            height, width = map(str, self._size or ('H', 'W'))
            wanted = ', '.join(map(str, self._shape)) or f'{height}, {width}, C'
            whose = 'those of the first batch' if self._shape else 'the real ones'
            raise DataError(
                f'a batch is {images.dtype} {list(images.shape)}; metrics take uint8 [N, {wanted}], images like {whose}'
            )
        self._shape = images.shape[1:]
        return images.transpose(0, 3, 1, 2)  # [N, C, H, W]
