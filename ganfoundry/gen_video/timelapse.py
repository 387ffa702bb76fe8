"""Time lapse of a run: its sample sheets in order, each above a line with its kimg and the metric of that moment.

Letters: H and W height and width of a sheet, C channels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from dnnlib.errors import ConfigError, DataError, RecordError
from dnnlib.records import read_record
from ganfoundry.captions import text_line
from ganfoundry.gen_video.output import over_background
from training.run.run_folder import RunFolder, first_result


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """A sample sheet of a run.

    path: the PNG. nimg: number of images shown until then. caption: the line of text below it.
    """

    path: Path
    nimg: int
    caption: str


def sheets_of(folder: Path) -> list[Sheet]:
    """Returns the sheets of a run in order, that of the untrained network first.

    Raises:
        ConfigError: If the folder has no sheets.
    """
    found = sorted((nimg, path) for path in folder.glob('fakes*.png') if (nimg := nimg_of_sheet(path)) is not None)
    if not found:
        raise ConfigError(f'--run={folder}: has no sheets (fakes*.png); give a run folder, such as runs/00000-...')
    name, values = metric_of(folder)
    sheets = []
    for nimg, path in found:
        caption = f'{nimg / 1000:g} kimg'
        if nimg in values:
            caption += f'   {name} {values[nimg]:.4g}'
        sheets.append(Sheet(path=path, nimg=nimg, caption=caption))
    return sheets


def nimg_of_sheet(path: Path) -> int | None:
    """Returns the number of images shown before a sheet was drawn, from its text chunks; None for other pictures."""
    try:
        with PIL.Image.open(path) as picture:
            return int(picture.info['nimg'])
    except (OSError, KeyError, ValueError):
        return None


def metric_of(folder: Path) -> tuple[str, dict[int, float]]:
    """Returns the metric that chose the best snapshot, else the first by name, and its values by nimg."""
    run = RunFolder(folder)
    names = sorted(path.name.removeprefix('metric-').removesuffix('.jsonl') for path in folder.glob('metric-*.jsonl'))
    if not names:
        return '', {}
    best = ''
    with contextlib.suppress(RecordError):
        best = read_record(run.best_record).text('metric')
    name = next((name for name in names if best.startswith(name)), names[0])
    return name, {line['nimg']: first_result(line) for line in run.curve(name)}


def timelapse(sheets: Sequence[Sheet], *, frames_per_sheet: int, upscale: int, background: str) -> Iterator[np.ndarray]:
    """Yields the frames of a time lapse, uint8 [H, W, 3].

    Args:
        sheets: The sheets, all of one size.
        frames_per_sheet: Number of frames that show each of them.
        upscale: Number of times that each pixel is repeated, in both directions; the text keeps its size.
        background: 'checker' or '#rrggbb', under transparent images.

    Raises:
        DataError: If a sheet cannot be read, or has another size than the first.
    """
    size = None
    for sheet in sheets:
        try:
            with PIL.Image.open(sheet.path) as picture:
                pixels = np.asarray(picture)
        except OSError as error:
            raise DataError(f'{sheet.path}: not readable ({error}); remove it to leave it out') from None
        if size is not None and pixels.shape != size:
            raise DataError(
                f'{sheet.path}: {pixels.shape[1]}x{pixels.shape[0]} pixels; the sheets before it have others'
            )
        size = pixels.shape
        frame = on_screen(pixels, upscale, background)
        line = np.repeat(text_line(sheet.caption, frame.shape[1])[..., None], 3, axis=2)  # [h, W, 3]
        frame = np.concatenate([frame, line])
        for _ in range(frames_per_sheet):
            yield frame


def on_screen(pixels: np.ndarray, upscale: int, background: str) -> np.ndarray:
    """Returns a sheet, uint8 [H, W] or [H, W, C], as RGB [H * upscale, W * upscale, 3]."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    pixels = pixels.repeat(upscale, axis=0).repeat(upscale, axis=1)
    if pixels.shape[2] in (2, 4):
        return over_background(pixels, background)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
