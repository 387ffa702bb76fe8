"""Images in a report: previews, and a contact sheet of the data set, by class if there are classes.

Letters: H height, W width.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dnnlib.errors import DataError
from training.data.source import ImageSource
from training.data.verify.image import ImageFault, decode_image, displayed_rgb
from training.data.verify.labels import UNLABELED
from training.data.verify.survey import VerifyReport, evenly_spread

MAX_SIDE = 4096  # side of a contact sheet in pixels, without its captions
MAX_CELLS = 100  # columns or rows

_CELL = 96  # side of a cell in pixels, if the sheet stays small enough
_CAPTION_LETTERS = 24
_GAP = 2


def preview(source: ImageSource, position: int, side: int) -> Image.Image | None:
    """Returns an image for display.

    Args:
        source: Images of the data set.
        position: Position of the image in the source.
        side: Limit of width and height in pixels. Small images are enlarged by whole factors.

    Returns:
        An RGB image, or None if the file cannot be decoded.
    """
    try:
        array = displayed_rgb(decode_image(source.read(position), source.name(position)).array)  # [H, W, 3]
    except (DataError, ImageFault):
        return None
    image = Image.fromarray(array)
    factor = side // max(image.size)
    if factor > 1:
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((side, side), Image.Resampling.BOX)
    return image


def data_uri(image: Image.Image) -> str:
    """Returns an image as a URL that holds a PNG."""
    return f'data:image/png;base64,{base64.b64encode(to_png(image)).decode("ascii")}'


def to_png(image: Image.Image) -> bytes:
    """Encodes an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format='PNG')
    return buffer.getvalue()


def contact_sheet(report: VerifyReport, columns: int, rows: int) -> Image.Image | None:
    """Draws an evenly spread sample of the data set; with classes, one row per class with its name.

    Args:
        report: Result of the check.
        columns: Number of columns.
        rows: Limit of the number of rows.

    Returns:
        The sheet, or None without images.
    """
    lines = _class_lines(report, columns, rows) or _plain_lines(report, columns, rows)
    if report.source is None or not lines:
        return None
    cell = _cell_side(report, max(columns, rows))
    font = ImageFont.load_default()
    widest = max(font.getlength(caption) for caption, _ in lines)
    left = int(widest) + 4 * _GAP if widest else 0
    sheet = Image.new('RGB', (left + columns * (cell + _GAP), len(lines) * (cell + _GAP)), 'white')
    draw = ImageDraw.Draw(sheet)
    for row, (caption, positions) in enumerate(lines):
        top = row * (cell + _GAP)
        draw.text((2 * _GAP, top + cell // 2), caption, fill='black', font=font)
        for column, position in enumerate(positions):
            image = preview(report.source, position, cell)
            if image is not None:
                x, y = left + column * (cell + _GAP), top
                sheet.paste(image, (x + (cell - image.width) // 2, y + (cell - image.height) // 2))
    return sheet


def _cell_side(report: VerifyReport, longest: int) -> int:
    """Returns the side of a cell in pixels: the sheet stays below MAX_SIDE, and small images fill their cells."""
    limit = max(min(_CELL, MAX_SIDE // longest), 8)
    (size, _), *_ = report.sizes.most_common(1)
    side = max(size)
    return limit // side * side if side <= limit else limit


def _plain_lines(report: VerifyReport, columns: int, rows: int) -> list[tuple[str, list[int]]]:
    """Returns rows of positions without captions, at most columns * rows positions.

    Args:
        report: Result of the check.
        columns: Number of columns.
        rows: Limit of the number of rows.
    """
    chosen = evenly_spread(report.positions[report.decoded], columns * rows).tolist()
    return [('', chosen[start : start + columns]) for start in range(0, len(chosen), columns)]


def _class_lines(report: VerifyReport, columns: int, rows: int) -> list[tuple[str, list[int]]]:
    """Returns rows of positions of one class each, with its name; empty without classes.

    Args:
        report: Result of the check.
        columns: Limit of the positions per row.
        rows: Limit of the number of rows.
    """
    if not len(report.labels.classes):
        return []
    shown = report.positions[report.decoded]
    classes = report.labels.classes[shown]
    lines = []
    for number in evenly_spread(np.unique(classes[classes != UNLABELED]), rows).tolist():
        caption = report.labels.title(number)[:_CAPTION_LETTERS]
        caption = caption.encode('ascii', 'replace').decode('ascii')  # the built-in font has no other letters
        lines.append((caption, evenly_spread(shown[classes == number], columns).tolist()))
    return lines
