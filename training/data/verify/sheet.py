"""What a report shows of images: previews, and a contact sheet of the whole data set, by class where there are classes.

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

MAX_SIDE = 4096  # of a contact sheet in pixels, its captions left out
MAX_CELLS = 100  # columns or rows

_CELL = 96  # pixels of a cell, where the sheet stays small enough
_CAPTION_LETTERS = 24
_GAP = 2


def preview(source: ImageSource, position: int, side: int) -> Image.Image | None:
    """An image as RGB that fits side x side; small ones are enlarged by whole factors. None: it cannot be decoded."""
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
    """An image as a PNG inside a URL."""
    return f'data:image/png;base64,{base64.b64encode(to_png(image)).decode("ascii")}'


def to_png(image: Image.Image) -> bytes:
    """PNG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format='PNG')
    return buffer.getvalue()


def contact_sheet(report: VerifyReport, columns: int, rows: int) -> Image.Image | None:
    """An even sample of the data set, row by row; with classes, one class a row with its name. None without images."""
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
    """Pixels of a cell: the sheet keeps below MAX_SIDE, and images that are smaller than a cell fill it."""
    limit = max(min(_CELL, MAX_SIDE // longest), 8)
    (size, _), *_ = report.sizes.most_common(1)
    side = max(size)
    return limit // side * side if side <= limit else limit


def _plain_lines(report: VerifyReport, columns: int, rows: int) -> list[tuple[str, list[int]]]:
    """Rows of positions without captions."""
    chosen = evenly_spread(report.positions[report.decoded], columns * rows).tolist()
    return [('', chosen[start : start + columns]) for start in range(0, len(chosen), columns)]


def _class_lines(report: VerifyReport, columns: int, rows: int) -> list[tuple[str, list[int]]]:
    """Rows of positions of one class each, with its name; empty where there are no classes."""
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
