"""Sheets of images for the run folder: generated images, each next to real ones.

Letters: C, H, W channels, height and width of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from torch_utils.images import tile

GAP = 4  # white pixels between a generated image and the real ones


class Sheet(NamedTuple):
    """A choice of images, one row per generated image."""

    fakes: list[int]  # positions in the stream of generated images
    reals: list[list[int]]  # positions in the reference, from left to right, equally many per row
    caption: str  # message in the log


def draw_sheet(
    sheet: Sheet,
    fakes: Callable[[Sequence[int]], list[np.ndarray]],
    reals: Callable[[Sequence[int]], list[np.ndarray]],
) -> np.ndarray:
    """Draws a sheet.

    Args:
        sheet: The choice of images.
        fakes: Function from positions, ascending, to generated images uint8 [C, H, W].
        reals: Function from positions to real images uint8 [C, H, W].

    Returns:
        uint8 [C, rows, columns]; each row has the generated image, a white gap, and the real images.
    """
    positions = sorted(set(sheet.fakes))
    images = dict(zip(positions, fakes(positions), strict=True))
    rows = []
    for position, neighbors in zip(sheet.fakes, sheet.reals, strict=True):
        image = images[position]  # [C, H, W]
        row = tile(np.stack(reals(neighbors)), len(neighbors))  # [C, H, R * W]
        rows.append(np.concatenate([image, np.full([*image.shape[:2], GAP], 255, np.uint8), row], axis=2))
    return np.concatenate(rows, axis=1)
