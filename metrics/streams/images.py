"""Streams of uint8 images: their type, their checks, and their conversion to RGB.

Real and generated images pass the same functions. Letters: N batch, C image channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from dnnlib.errors import DataError

# A stream of images that can be read in parts: positions, ascending and disjoint -> the uint8 [N, C, H, W] of each.
# An image does not depend on the parts.
ImageStream = Callable[[Iterable[range]], Iterable[torch.Tensor | np.ndarray]]


def as_images(batch: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Returns a batch as a tensor. Raises DataError unless it is uint8 [N, C, H, W]."""
    images = torch.tensor(batch) if isinstance(batch, np.ndarray) else batch
    if images.dtype != torch.uint8:
        raise DataError(
            f'metrics read uint8 images in [0, 255], this batch is {str(images.dtype).removeprefix("torch.")}'
        )
    # No image is 1 or 3 pixels wide: such a batch has its channels last.
    if images.ndim != 4 or images.shape[1] == 0 or images.shape[3] in (1, 3):
        raise DataError(f'metrics read images [N, C, H, W], this batch has the shape {list(images.shape)}')
    return images


def to_rgb(images: torch.Tensor) -> torch.Tensor:
    """Converts uint8 [N, C, H, W] to the input of detectors, uint8 [N, 3, H, W].

    Gray (C = 1) is tiled. With alpha (the last of C = 2 or 4) the image is composed over white, as a page shows it;
    detectors cannot use alpha itself, and colors that it hides do not count. With five or more channels the first three
    are used, and metrics ignore the others.
    """
    c = images.shape[1]
    if c in (2, 4):
        color, alpha = images.to(torch.int32).split([c - 1, 1], dim=1)  # [N, 1 or 3, H, W], [N, 1, H, W]
        # color a + 255 (1 - a) with a = alpha / 255, rounded; 255 is odd, so there are no halves.
        images = ((color * alpha + 255 * (255 - alpha) + 127) // 255).to(torch.uint8)
    return images[:, :3].expand(-1, 3, -1, -1)


def checked(
    batches: Iterable[torch.Tensor | np.ndarray], parts: Iterable[range], source: str
) -> Iterator[torch.Tensor]:
    """Checks the batches of a stream.

    Args:
        batches: One batch per part.
        parts: Positions of the images, in parts.
        source: Name of the stream in error messages.

    Returns:
        Iterator of the images of each part, uint8 [N, C, H, W].

    Raises:
        DataError: There are too few images, or their shapes differ.
    """
    shape, stream = None, iter(batches)
    for part in parts:
        batch = next(stream, None)
        images = None if batch is None else as_images(batch)  # [N, C, H, W] uint8
        if images is None or len(images) < len(part):
            raise DataError(f'{source} ended after {part.start + (0 if images is None else len(images))} images')
        if shape is not None and images.shape[1:] != shape:
            raise DataError(f'{source}: images of {list(images.shape[1:])} follow images of {list(shape)}')
        shape = images.shape[1:]
        yield images
