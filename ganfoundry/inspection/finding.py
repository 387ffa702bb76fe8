"""What an inspection finds: pictures in rows, numbers, and sentences.

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dnnlib import files
from ganfoundry.captions import caption, row_names
from ganfoundry.drawing import save_image
from torch_utils.images import shown, tile

CELL = 96  # least side of a picture in a sheet, in pixels
POSITIVE, NEGATIVE = (178, 24, 43), (33, 102, 172)  # the colors of 1 and of -1; 0 is white
DARK, BRIGHT = (13, 8, 66), (253, 231, 37)  # the colors of the least and of the largest value


@dataclass(kw_only=True, slots=True)
class Finding:
    """The result of an inspection.

    Attributes:
        rows: Rows of a sheet, each a name and its pictures, uint8 [N, C, H, W] of any size, N equal in all rows.
        facts: Numbers for the JSON file.
        lines: Sentences for the terminal.
    """

    rows: list[tuple[str, np.ndarray]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def write_finding(finding: Finding, folder: Path, name: str, text: dict[str, Any]) -> None:
    """Writes NAME.json and, if the finding has rows, NAME.png, and prints the sentences and the paths.

    Args:
        finding: The finding.
        folder: Folder that exists.
        name: Stem of the files.
        text: Origin of the finding: text chunks of the PNG, and part of the JSON.
    """
    files.write_json(folder / f'{name}.json', {**text, **finding.facts})
    for line in finding.lines:
        print(line)
    if finding.rows:
        save_image(sheet_of(finding), folder / f'{name}.png', text)
        print(folder / f'{name}.png')
    print(folder / f'{name}.json')


def sheet_of(finding: Finding) -> np.ndarray:
    """Returns the rows of a finding below each other with their names, and the sentences below, uint8 [3, H, W].

    Pictures are enlarged by repeating pixels until a side has CELL pixels, so that all of them have one size.
    """
    height = max(images.shape[2] for _, images in finding.rows)
    width = max(images.shape[3] for _, images in finding.rows)
    scale = max(1, -(-CELL // max(height, width)))
    size = (width * scale, height * scale)
    rows = [_resized(_as_rgb(images), size) for _, images in finding.rows]
    sheet = row_names(tile(np.concatenate(rows), len(rows[0])), [name for name, _ in finding.rows])
    for line in finding.lines:
        sheet = caption(sheet, line)
    return sheet


def signed(values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Returns values as colors, blue below 0, white at 0, red above it, uint8 [N, 3, H, W].

    Args:
        values: [N, H, W].
        largest: The size of the value with the full color; None for the largest there is.
    """
    share: np.ndarray = np.clip(values / (largest or float(np.abs(values).max()) or 1), -1, 1)[:, None]  # [N, 1, H, W]
    full = np.where(share > 0, _color(POSITIVE), _color(NEGATIVE))  # [N, 3, H, W]
    return _as_bytes(255 + (full - 255) * np.abs(share))


def heat(values: np.ndarray, low: float = 0, high: float | None = None) -> np.ndarray:
    """Returns values as colors from dark blue to yellow, uint8 [N, 3, H, W].

    Args:
        values: [N, H, W].
        low: The value of the darkest color.
        high: The value of the brightest color; None for the largest there is.
    """
    high = float(values.max()) if high is None else high
    share: np.ndarray = np.clip((values - low) / ((high - low) or 1), 0, 1)[:, None]  # [N, 1, H, W]
    return _as_bytes(_color(DARK) + (_color(BRIGHT) - _color(DARK)) * share)


def _as_bytes(colors: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.rint(colors)
    return rounded.astype(np.uint8)


def _color(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.array(rgb, dtype=np.float64)[:, None, None]  # [3, 1, 1]


def _as_rgb(images: np.ndarray) -> np.ndarray:
    """Returns images of 1 to 4 or more channels as RGB, uint8 [N, 3, H, W]; alpha is left out."""
    images = shown(images)
    return images[:, :3] if images.shape[1] >= 3 else np.repeat(images[:, :1], 3, axis=1)


def _resized(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns images at (width, height) by the nearest pixel, uint8 [N, 3, H, W]."""
    pictures = [Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))) for image in images]
    return np.stack(
        [np.asarray(picture.resize(size, Image.Resampling.NEAREST)).transpose(2, 0, 1) for picture in pictures]
    )
