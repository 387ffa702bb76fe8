"""Image tensors and files: value ranges, grids, PNG with metadata.

Letters: N images, C channels, H height, W width.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import torch

from dnnlib.files import atomic_path

PNG_CHANNELS = {np.dtype(np.uint8): 4, np.dtype(np.uint16): 1}  # maximum that Pillow writes


def from_pixels(img: torch.Tensor) -> torch.Tensor:
    """Maps pixels to the networks' range: uint8 [0, 255] or uint16 [0, 65535] to float32 [-1, 1]. Any shape."""
    assert img.dtype in (torch.uint8, torch.uint16)
    return img.float() / (127.5 if img.dtype == torch.uint8 else 32767.5) - 1


def to_uint8(img: torch.Tensor) -> torch.Tensor:
    """Maps the networks' range to pixels: float [-1, 1] to uint8 [0, 255], truncated as in StyleGAN. Any shape."""
    return (img.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def to_uint16(img: torch.Tensor) -> torch.Tensor:
    """Maps the networks' range to pixels: float [-1, 1] to uint16 [0, 65535], as `to_uint8` does. Any shape."""
    return (img.float() * 32767.5 + 32768).clamp(0, 65535).to(torch.uint16)


def fits_png(image: np.ndarray) -> bool:
    """Returns whether `save_png` can write [C, H, W] without a change."""
    return 1 <= len(image) <= PNG_CHANNELS.get(image.dtype, 0)


def shown(images: np.ndarray) -> np.ndarray:
    """Returns the channels of images [..., C, H, W] that a PNG shows: up to four; of more, the first three as RGB."""
    return images if images.shape[-3] <= 4 else images[..., :3, :, :]


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Returns images as one large image, filled row by row; missing places are black, or clear if there is alpha."""
    n, c, h, w = images.shape  # [N, C, H, W]
    rows = -(-n // columns)
    sheet = np.zeros([rows * columns, c, h, w], dtype=images.dtype)
    sheet[:n] = images
    sheet = sheet.reshape(rows, columns, c, h, w).transpose(2, 0, 3, 1, 4)  # [C, rows, H, columns, W]
    return sheet.reshape(c, rows * h, columns * w)  # [C, rows * H, columns * W]


def save_png(image: np.ndarray | torch.Tensor, path: Path, info: dict[str, Any] | None = None) -> None:
    """Writes an image as a PNG, atomically.

    Args:
        image: Image [C, H, W]. uint8: gray, gray with alpha, RGB or RGBA, by the number of channels; uint16: gray.
        path: File to write.
        info: Text chunks by keyword; values other than str are stored as JSON.

    Raises:
        ValueError: If a PNG cannot hold the image; the message names the file.
    """
    pixels = np.asarray(image)  # [C, H, W]
    assert pixels.ndim == 3
    if not fits_png(pixels):
        raise ValueError(
            f'{path}: a PNG holds 1 to 4 channels of 8 bits or 1 of 16, not {len(pixels)} of {pixels.dtype}'
        )
    with atomic_path(path) as tmp, tmp.open('wb') as file:
        write_png(pixels, file, info)


def write_png(pixels: np.ndarray, file: BinaryIO, info: dict[str, Any] | None = None) -> None:
    """Writes an image that `fits_png` into an open file as a PNG; the arguments are those of `save_png`."""
    text = PIL.PngImagePlugin.PngInfo()
    for key, value in (info or {}).items():
        text.add_text(key, value if isinstance(value, str) else json.dumps(value))
    picture = PIL.Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))
    picture.save(file, format='PNG', pnginfo=text)


def save_npy(image: np.ndarray | torch.Tensor, path: Path) -> None:
    """Writes [C, H, W] as a .npy file [H, W, C] in its own dtype, atomically, for images that no PNG can hold."""
    pixels = np.asarray(image)
    assert pixels.ndim == 3
    with atomic_path(path) as tmp, open(tmp, 'wb') as file:
        np.lib.format.write_array(file, np.ascontiguousarray(pixels.transpose(1, 2, 0)), allow_pickle=False)


def grid_shape(height: int, width: int, limit: int | None = None) -> tuple[int, int]:
    """Returns the layout of a sample sheet that fills an 8K screen: 32x32 up to 128 px, 7x4 from 1024 px on.

    Args:
        height: Height of an image in pixels.
        width: Width of an image in pixels.
        limit: Maximum number of images, for slow machines; the sheet is then as square as possible. None: no maximum.

    Returns:
        Numbers of columns and rows.
    """
    columns, rows = int(np.clip(7680 // width, 7, 32)), int(np.clip(4320 // height, 4, 32))
    if limit is not None and columns * rows > limit:
        columns = min(columns, max(round((limit * height / width) ** 0.5), 1))
        rows = max(limit // columns, 1)
    return columns, rows
