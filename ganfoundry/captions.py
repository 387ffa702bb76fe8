"""Names and captions on sheets of images.

Letters: C channels, H and W height and width of a sheet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dnnlib.printable import printable

FONT_PIXELS = 12
MARGIN = 4  # pixels around a text
MAX_LENGTH = 40  # characters of the name of a row


def row_names(sheet: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Returns a sheet with the names of its rows to the left of them, uint8 [C, H, W + width of the names].

    Args:
        sheet: Image of rows of equal height, uint8 [C, H, W].
        names: One name per row.
    """
    height = sheet.shape[1] // len(names)
    texts = [name if len(name) <= MAX_LENGTH else f'{name[: MAX_LENGTH - 3]}...' for name in names]
    width = max(_size(text)[0] for text in texts) + 2 * MARGIN
    margin = np.concatenate([_drawn(text, width, height) for text in texts])  # [H, width]
    return np.concatenate([_with_channels(margin, len(sheet)), sheet], axis=2)


def caption(sheet: np.ndarray, text: str) -> np.ndarray:
    """Returns a sheet with a text below it, uint8 [C, H + height of the text, W]; its lines break between words.

    Args:
        sheet: Image, uint8 [C, H, W].
        text: The text.
    """
    width = sheet.shape[2]
    lines: list[str] = []
    for word in text.split():
        if lines and _size(f'{lines[-1]} {word}')[0] + 2 * MARGIN <= width:
            lines[-1] += f' {word}'
        else:
            lines.append(word)
    strip = np.concatenate([_drawn(line, width, FONT_PIXELS + MARGIN) for line in lines])  # [h, W]
    return np.concatenate([sheet, _with_channels(strip, len(sheet))], axis=1)


def text_line(text: str, width: int) -> np.ndarray:
    """Returns one line of black text on white, uint8 [h, width]; it ends at the margin."""
    return _drawn(text, width, FONT_PIXELS + 2 * MARGIN)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=FONT_PIXELS)


def _size(text: str) -> tuple[int, int]:
    """Returns width and height of a text in pixels."""
    _, _, right, bottom = _font().getbbox(printable(text))
    return int(np.ceil(right)), int(np.ceil(bottom))


def _drawn(text: str, width: int, height: int) -> np.ndarray:
    """Returns a black text on white, uint8 [height, width]."""
    picture = Image.new('L', (width, height), 255)
    ImageDraw.Draw(picture).text((MARGIN, height / 2), printable(text), fill=0, font=_font(), anchor='lm')
    return np.asarray(picture)


def _with_channels(gray: np.ndarray, num_channels: int) -> np.ndarray:
    """Returns a gray image [H, W] as [C, H, W]; the second or fourth channel is alpha, and opaque."""
    channels = np.repeat(gray[None], num_channels, axis=0)
    if num_channels in (2, 4):
        channels[-1] = 255
    return channels
