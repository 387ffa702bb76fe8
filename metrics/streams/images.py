"""Streams of uint8 images: what they are, checked, and seen as RGB.

Reals and fakes pass the same functions. Letters: N batch, C image channels, H and W image height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from dnnlib.errors import DataError

# A stream of images that can be had in parts: positions, ascending and disjoint -> the uint8 [N, C, H, W] of each. An
# image is the same whatever the parts are.
ImageStream = Callable[[Iterable[range]], Iterable[torch.Tensor | np.ndarray]]


def as_images(batch: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Checks that a batch is uint8 [N, C, H, W] and returns it as a tensor; DataError otherwise."""
    images = torch.tensor(batch) if isinstance(batch, np.ndarray) else batch
    if images.dtype != torch.uint8:
        raise DataError(
            f'metrics read uint8 images in [0, 255], this batch is {str(images.dtype).removeprefix("torch.")}'
        )
    # No picture is 1 or 3 pixels wide: such a batch has its channels last.
    if images.ndim != 4 or images.shape[1] == 0 or images.shape[3] in (1, 3):
        raise DataError(f'metrics read images [N, C, H, W], this batch has the shape {list(images.shape)}')
    return images


def to_rgb(images: torch.Tensor) -> torch.Tensor:
    """What a detector sees of uint8 [N, C, H, W]: uint8 [N, 3, H, W].

    Grey (C = 1) is tiled. Alpha (the last of C = 2 or 4) lays the picture over white, as a page shows it; a detector
    has no use for the alpha itself, and colours that it hides do not count. Of five channels or more the first three
    are seen: a metric then says nothing of the others.
    """
    c = images.shape[1]
    if c in (2, 4):
        colour, alpha = images.to(torch.int32).split([c - 1, 1], dim=1)  # [N, 1 or 3, H, W], [N, 1, H, W]
        # colour a + 255 (1 - a) for a = alpha / 255, rounded; 255 is odd, so there are no halves.
        images = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).to(torch.uint8)
    return images[:, :3].expand(-1, 3, -1, -1)


def checked(
    batches: Iterable[torch.Tensor | np.ndarray], parts: Iterable[range], source: str
) -> Iterator[torch.Tensor]:
    """The images of each part, uint8 [N, C, H, W], known to be what was asked for.

    DataError, naming the `source`, where they are fewer, end early or differ in shape.
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
