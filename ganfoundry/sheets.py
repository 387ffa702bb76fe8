"""Sheets of generated images: collected, laid out, written with the text that draws them again.

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib.log import counted
from ganfoundry.captions import row_names
from ganfoundry.drawing import Drawn, save_image
from ganfoundry.jobs import Job
from ganfoundry.pictures import check_free, interruptible
from torch_utils.images import shown, tile
from training.data.progress import progress
from training.data.stored_image import to_8_bits


def visible(drawn: Drawn) -> np.ndarray:
    """Returns an image as sheets show it: 8 bits, of more than four channels the first three, uint8 [C, H, W]."""
    return shown(to_8_bits(drawn.image))


def collect(drawn: Iterable[Drawn], count: int, path: Path) -> np.ndarray:
    """Returns images as sheets show them, uint8 [N, C, H, W], with progress on a terminal.

    Args:
        drawn: The images.
        count: Their number.
        path: The file that is not written if Ctrl-C ends the process.
    """
    images = []
    with interruptible(f'{path} is not written'), progress('images') as advance:
        for image in drawn:
            images.append(visible(image))
            advance(count)
    return np.stack(images)


def sheet_text(job: Job, batch: int) -> dict[str, Any]:
    """Returns the text chunks of a sheet: the origins of its images, its layout, and the size of the batches."""
    origins = [point.origin for point in job.points]
    seeds = {'seeds': [origin['seed'] for origin in origins]} if all('seed' in origin for origin in origins) else {}
    return {**seeds, 'points': origins, 'columns': job.columns, 'rows': list(job.rows), 'batch': [0, batch]}


def write_sheet(drawn: Iterable[Drawn], job: Job, path: Path, text: dict[str, Any], *, overwrite: bool) -> np.ndarray:
    """Draws the images of a sheet, writes it, and returns them, uint8 [N, C, H, W].

    Args:
        drawn: The images.
        job: The points and the layout.
        path: The PNG.
        text: Its text chunks.
        overwrite: Whether to replace another picture of this name.

    Raises:
        ConfigError: If another picture has this name.
    """
    assert job.columns is not None
    check_free(path, text, overwrite=overwrite)
    images = collect(drawn, len(job.points), path)
    sheet = tile(images, job.columns)  # [C, H, W]
    save_image(row_names(sheet, job.rows) if job.rows else sheet, path, text)
    print(f'{path}: {counted(len(images), "image")}')
    return images


def with_margins(rows: np.ndarray, cols: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Returns a table of images, uint8 [C, H, W], whose top left place is empty.

    Args:
        rows: Images of the left margin, uint8 [N, C, H, W].
        cols: Images of the upper margin, uint8 [M, C, H, W].
        cells: The other images, row by row, uint8 [N * M, C, H, W].
    """
    corner = np.zeros_like(cols[:1])
    table = [corner, cols]
    for index, row in enumerate(rows):
        table += [row[None], cells[index * len(cols) : (index + 1) * len(cols)]]
    return tile(np.concatenate(table), len(cols) + 1)
