"""Time lapse of a run: its sample sheets in order, each above a line with its kimg and the metric of that moment.

Letters: H and W height and width of a sheet, C channels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnnlib.errors import ConfigError, DataError, FileError, RecordError
from dnnlib.records import read_record
from dnnlib.regular_file import read_regular
from ganfoundry.captions import text_line
from ganfoundry.gen_video.output import frame_of
from ganfoundry.pictures import read_text
from training.data.convert.decode import decode_picture
from training.data.zip_index import MAX_FILE_BYTES
from training.run.lines import first_result
from training.run.run_folder import RunFolder


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
        return int((read_text(path) or {})['nimg'])
    except (KeyError, ValueError):
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
    # best.json names a number of the metric, such as pr50k3_full_precision of pr50k3_full, which is none of pr50k3.
    name = max((name for name in names if best.startswith(name)), key=len, default=names[0])
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
        pixels = read_sheet(sheet.path)  # [H, W, C]
        if size is not None and pixels.shape != size:
            raise DataError(
                f'{sheet.path}: {pixels.shape[1]}x{pixels.shape[0]} pixels; the sheets before it have others'
            )
        size = pixels.shape
        frame = frame_of(pixels.transpose(2, 0, 1)[None], 1, upscale=upscale, background=background)
        frame = np.broadcast_to(frame, (*frame.shape[:2], 3))
        line = np.repeat(text_line(sheet.caption, frame.shape[1])[..., None], 3, axis=2)  # [h, W, 3]
        frame = np.concatenate([frame, line])
        for _ in range(frames_per_sheet):
            yield frame


def read_sheet(path: Path) -> np.ndarray:
    """Returns the pixels of a sheet, uint8 [H, W, C]. Raises DataError if it cannot be read."""
    try:
        return decode_picture(read_regular(path, MAX_FILE_BYTES), str(path), 8).pixels
    except (DataError, FileError) as error:
        raise DataError(f'{error}; remove it to leave it out') from None
