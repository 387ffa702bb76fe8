"""Sheets of images for the run folder: generated images, each next to real ones, with labels.

Letters: C, H, W channels, height and width of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from metrics.streams.images import to_rgb

MIN_SIDE = 64  # pixels of the shorter side of a picture; smaller images are enlarged by a whole factor
GAP = 4  # white pixels around a picture
LABEL = 64  # pixels left of a row, for the position of its generated image
HEAD = 40  # pixels above the first row, for two lines of text
FONT_SIZE = 13
INK = '#222222'


class Sheet(NamedTuple):
    """A choice of images, one row per generated image."""

    fakes: list[int]  # positions in the stream of generated images
    reals: list[list[int]]  # positions in the reference, from left to right, equally many per row
    caption: str  # message in the log, and title of the sheet


def draw_sheet(
    sheet: Sheet,
    fakes: Callable[[Sequence[int]], list[np.ndarray]],
    reals: Callable[[Sequence[int]], list[np.ndarray]],
) -> np.ndarray:
    """Draws a sheet in the colors that detectors see: gray is repeated, alpha composed over white.

    Args:
        sheet: The choice of images.
        fakes: Function from positions, ascending, to generated images uint8 [C, H, W].
        reals: Function from positions to real images uint8 [C, H, W].

    Returns:
        uint8 [3, rows, columns]. A row has the position of the generated image in its stream, that image, and the real
        images.
    """
    positions = sorted(set(sheet.fakes))
    images = dict(zip(positions, fakes(positions), strict=True))
    first = next(iter(images.values()))  # [C, H, W]
    scale = -(-MIN_SIDE // min(first.shape[1:]))
    height, width = (side * scale for side in first.shape[1:])
    lefts = [LABEL + (GAP + width) * column + (4 * GAP if column else GAP) for column in range(len(sheet.reals[0]) + 1)]
    size = max(lefts[-1] + width + GAP, LABEL + 7 * len(sheet.caption)), HEAD + (height + GAP) * len(sheet.fakes)
    picture = Image.new('RGB', size, 'white')
    canvas, font = ImageDraw.Draw(picture), ImageFont.load_default(size=FONT_SIZE)
    canvas.text((GAP, GAP), sheet.caption, fill=INK, font=font)
    canvas.text((lefts[0], HEAD - GAP), 'generated', fill=INK, font=font, anchor='ls')
    canvas.text((lefts[1], HEAD - GAP), 'real, the nearest first', fill=INK, font=font, anchor='ls')
    for row, (position, neighbors) in enumerate(zip(sheet.fakes, sheet.reals, strict=True)):
        top = HEAD + (height + GAP) * row
        canvas.text((LABEL - GAP, top + height / 2), str(position), fill=INK, font=font, anchor='rm')
        for left, image in zip(lefts, [images[position], *reals(neighbors)], strict=True):
            picture.paste(_enlarged(image, scale), (left, top))
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def _enlarged(image: np.ndarray, scale: int) -> Image.Image:
    """Returns uint8 [C, H, W] as a picture in RGB, each pixel `scale` times as large."""
    pixels = to_rgb(torch.tensor(image)[None])[0].numpy().transpose(1, 2, 0)  # [H, W, 3]
    return Image.fromarray(np.ascontiguousarray(pixels.repeat(scale, axis=0).repeat(scale, axis=1)))
