"""The file of a film: a format for each ending, and frames as pixels of a screen.

Letters: N images, C channels, H and W height and width.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib.errors import ConfigError
from ganfoundry.animations import Animation, FrameFolder, Gif, WebP
from ganfoundry.films import CODECS, Film
from torch_utils.images import shown, tile
from training.data.stored_image import to_8_bits

ANIMATIONS: dict[str, type[Animation]] = {'.gif': Gif, '.webp': WebP}
CHECKER = (153, 102)  # gray levels of the checkerboard under transparent images
CHECKER_PX = 8  # side of one of its squares


def open_film(path: Path, *, fps: int, crf: int, comment: str) -> Film | Animation | FrameFolder:
    """Returns the writer that an ending asks for; a name without an ending is a folder of PNGs.

    Args:
        path: The file or folder.
        fps: Frames per second.
        crf: Quality of H.264 and VP9; the other formats are lossless, or have 256 colors (GIF).
        comment: JSON text that says how the frames were made, stored in or next to the film.

    Raises:
        ConfigError: If the ending is unknown, the folder has files in it, or PyAV is not installed.
    """
    ending = path.suffix.lower()
    if ending in CODECS:
        return Film(path, fps=fps, crf=crf, comment=comment)
    if ending in ANIMATIONS:
        return ANIMATIONS[ending](path, fps=fps, comment=comment)
    if ending:
        endings = ', '.join([*CODECS, *ANIMATIONS])
        raise ConfigError(f'--output={path}: unknown ending; choose one of {endings}, or none for a folder of PNGs')
    return FrameFolder(path, fps=fps, comment=comment)


def frame_of(images: np.ndarray, columns: int, *, upscale: int = 1, background: str = 'checker') -> np.ndarray:
    """Returns the frame of a grid of images.

    Args:
        images: The cells, row by row, uint8 or uint16 [N, C, H, W].
        columns: Number of columns of the grid.
        upscale: Number of times that each pixel is repeated, in both directions.
        background: 'checker' or '#rrggbb', under transparent images.

    Returns:
        uint8 [rows * H * upscale, columns * W * upscale, C], C = 1 for gray or 3 for RGB.
    """
    sheet = tile(shown(to_8_bits(images)), columns).transpose(1, 2, 0)  # [rows * H, columns * W, C]
    sheet = sheet.repeat(upscale, axis=0).repeat(upscale, axis=1)
    return sheet if sheet.shape[2] in (1, 3) else over_background(sheet, background)


def over_background(sheet: np.ndarray, background: str) -> np.ndarray:
    """Puts an image with alpha on a background.

    Args:
        sheet: uint8 [H, W, 2] gray with alpha, or [H, W, 4] RGBA.
        background: 'checker' or '#rrggbb'.

    Returns:
        uint8 [H, W, 3].
    """
    height, width = sheet.shape[:2]
    color, alpha = sheet[..., :-1].astype(np.float64), sheet[..., -1:] / 255
    under: Any
    if background == 'checker':
        squares = np.add.outer(np.arange(height) // CHECKER_PX, np.arange(width) // CHECKER_PX) % 2  # [H, W]
        under = np.array(CHECKER)[squares][..., None]  # [H, W, 1]
    else:
        under = np.array([int(background[i : i + 2], 16) for i in (1, 3, 5)])  # [3]
    mixed = color * alpha + under * (1 - alpha)  # [H, W, 1 or 3]
    return np.broadcast_to(np.rint(mixed), (height, width, 3)).astype(np.uint8)


def check_background(text: str) -> None:
    """Refuses a --background that is neither 'checker' nor '#rrggbb'."""
    if text != 'checker' and re.fullmatch(r'#[0-9a-fA-F]{6}', text) is None:
        raise ConfigError(f'--background={text}: expected checker, or a color such as #ffffff')
