"""Sample sheets of a run within a page: small enough to be many, large enough to see one image.

Letters: H and W height and width of a sheet, C channels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from dnnlib.errors import DataError
from ganfoundry.gen_video.timelapse import read_sheet
from ganfoundry.report.embedding import webp
from ganfoundry.report.run_reading import RunReading, SheetFile

MAX_SIDE = 512  # pixels of a sheet in the page
MIN_CELL = 64  # pixels of a cell, or its own size if that is less; a sheet of more cells is cropped
SMALLER = ((MAX_SIDE, 60), (384, 70), (384, 50), (256, 60), (256, 40), (192, 40))  # (pixels, quality), tried in turn
SHEET_BYTES = 71_000  # of WebP per sheet; 100 of them need 9.5 MB in base64, and fewer may be larger
ALL_BYTES = 20_000_000  # of WebP in a page


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """Images on the sheets of a run. width, height: of an image. columns, rows: number of images that are shown."""

    width: int
    height: int
    columns: int
    rows: int


def image_size(record: dict[str, Any]) -> tuple[int, int] | None:
    """Returns width and height of a run's images by its record; None if it does not say."""
    facts = record.get('facts')
    if not isinstance(facts, dict):
        return None
    resolution, base = facts.get('resolution'), facts.get('base', [4, 4])
    if not isinstance(resolution, int) or not isinstance(base, list) or len(base) != 2:
        return None
    if not all(isinstance(side, int) and side > 0 for side in (resolution, *base)):
        return None
    return base[1] * resolution // 4, base[0] * resolution // 4


def cells_of(size: tuple[int, int], image: tuple[int, int] | None, *, full: bool) -> Cells:
    """Returns the images of a sheet that a page shows; the sheet itself is the only one if their size is unknown.

    Args:
        size: Width and height of the sheet.
        image: Width and height of an image, or None.
        full: Show all of them, however small.
    """
    if image is None or size[0] % image[0] or size[1] % image[1]:
        return Cells(width=size[0], height=size[1], columns=1, rows=1)
    columns, rows = size[0] // image[0], size[1] // image[1]
    if not full and max(size) > MAX_SIDE:
        columns, rows = (
            min(count, max(MAX_SIDE // min(side, MIN_CELL), 1))
            for count, side in zip((columns, rows), image, strict=True)
        )
    return Cells(width=image[0], height=image[1], columns=columns, rows=rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedSheet:
    """A sheet as WebP, with the images that it shows of those that there are."""

    data: bytes
    cells: Cells
    is_cropped: bool


def encode_sheet(
    path: Path, image: tuple[int, int] | None, *, full: bool = False, max_bytes: int | None = None
) -> EncodedSheet | None:
    """Returns a sheet as WebP; None if the file is damaged.

    Args:
        path: The PNG.
        image: Width and height of an image, or None.
        full: Neither crop nor scale.
        max_bytes: Size to reach by a lower quality and fewer pixels; None for any size.
    """
    try:
        pixels = read_sheet(path)  # [H, W, C]
    except DataError:
        return None
    size = (pixels.shape[1], pixels.shape[0])
    cells = cells_of(size, image, full=full)
    shown = (cells.columns * cells.width, cells.rows * cells.height)
    picture = _picture(pixels[: shown[1], : shown[0]])
    data = webp(picture if full else _within(picture, MAX_SIDE))
    for side, quality in SMALLER if max_bytes is not None and not full else ():
        if max_bytes is not None and len(data) > max_bytes:
            data = webp(_within(picture, side), quality)
    return EncodedSheet(data=data, cells=cells, is_cropped=shown != size)


def _picture(pixels: np.ndarray) -> PIL.Image.Image:
    """Returns pixels, uint8 [H, W, C], as a picture in RGB or RGBA."""
    channels = pixels.shape[2]
    picture = PIL.Image.fromarray(np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels))
    return picture.convert('RGBA' if channels in (2, 4) else 'RGB')


def _within(picture: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """Returns a picture scaled down, if need be, so that neither side is longer than `side`."""
    scale = side / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(round(length * scale), 1) for length in picture.size)
    return picture.resize((width, height), PIL.Image.Resampling.LANCZOS)


def encode_all(
    runs: Sequence[RunReading], *, full: bool, advance: Callable[[int], None]
) -> list[dict[int, EncodedSheet]]:
    """Returns the sheets of several runs by nimg, encoded in several threads; damaged ones are left out.

    Args:
        runs: The runs.
        full: Neither crop nor scale, at any size of the page.
        advance: Called after each sheet with the number of all.
    """
    count = sum(len(run.sheets) for run in runs)
    max_bytes = min(max(SHEET_BYTES, 100 * SHEET_BYTES // max(count, 1)), ALL_BYTES // max(count, 1))

    def encode(job: tuple[SheetFile, tuple[int, int] | None]) -> EncodedSheet | None:
        return encode_sheet(job[0].path, job[1], full=full, max_bytes=max_bytes)

    encoded: list[dict[int, EncodedSheet]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for run in runs:
            files, size = list(run.sheets.values()), image_size(run.record)
            found: dict[int, EncodedSheet] = {}
            for file, sheet in zip(files, pool.map(encode, [(file, size) for file in files]), strict=True):
                advance(count)
                if sheet is not None:
                    found[file.nimg] = sheet
            encoded.append(found)
    return encoded


def sheet_entry(run: RunReading, nimg: int, src: str) -> dict[str, Any]:
    """Returns a sheet as the page's script reads it.

    Args:
        run: The run.
        nimg: Number of images of the sheet.
        src: Address of the picture.
    """
    return {'kimg': nimg / 1000, 'src': src, 'caption': caption_of(run, nimg)}


def caption_of(run: RunReading, nimg: int) -> str:
    """Returns the moment of a sheet, and the first number of each metric that was measured then."""
    parts = ['untrained' if nimg == 0 else f'{nimg / 1000:g} kimg']
    for lines in run.metrics.values():
        for line in lines:
            if line['nimg'] == nimg:
                key, value = next(iter(line['results'].items()))
                parts.append(f'{key} {value:.4g}')
    return ', '.join(parts)


def run_entry(run: RunReading, cells: Cells | None, sheets: Sequence[dict[str, Any]], reals: str) -> dict[str, Any]:
    """Returns the sheets of a run as the page's script reads them.

    Args:
        run: The run.
        cells: Images on a sheet; None without a sheet.
        sheets: The sheets, by `sheet_entry`.
        reals: Address of the sheet of real images, '' without one.
    """
    columns, rows = (cells.columns, cells.rows) if cells else (1, 1)
    return {'name': run.name, 'columns': columns, 'rows': rows, 'sheets': list(sheets), 'reals': reals}
