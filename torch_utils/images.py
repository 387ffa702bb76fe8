"""Image tensors to PNG files: ranges, grids, metadata.

Letters: N images, C channels (1 or 3), H height, W width.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import torch

from dnnlib.files import atomic_path


def to_uint8(img: torch.Tensor) -> torch.Tensor:
    """Network range to pixels: [-1, 1] float to [0, 255] uint8, truncated as StyleGAN users know it. Any shape."""
    return (img.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def from_uint8(img: torch.Tensor) -> torch.Tensor:
    """Pixels to network range: uint8 [0, 255] to float32 [-1, 1]. Any shape."""
    return img.float() / 127.5 - 1


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """One large image, filled row by row; missing places at the end stay black."""
    n, c, h, w = images.shape  # [N, C, H, W]
    rows = -(-n // columns)
    sheet = np.zeros([rows * columns, c, h, w], dtype=images.dtype)
    sheet[:n] = images
    sheet = sheet.reshape(rows, columns, c, h, w).transpose(2, 0, 3, 1, 4)  # [C, rows, H, columns, W]
    return sheet.reshape(c, rows * h, columns * w)  # [C, rows * H, columns * W]


def save_png(image: np.ndarray | torch.Tensor, path: Path, info: dict[str, Any] | None = None) -> None:
    """Writes uint8 [C, H, W] as a grey or RGB PNG, atomically; each item of `info` becomes a text chunk."""
    pixels = np.asarray(image)  # [C, H, W]
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    if pixels.shape[0] not in (1, 3):
        raise ValueError(f'{path}: a PNG holds 1 or 3 channels here, not {pixels.shape[0]}')
    text = PIL.PngImagePlugin.PngInfo()
    for key, value in (info or {}).items():
        text.add_text(key, value if isinstance(value, str) else json.dumps(value))
    picture = PIL.Image.fromarray(pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0))
    with atomic_path(path) as tmp:
        picture.save(tmp, format='PNG', pnginfo=text)


def grid_shape(resolution: int, limit: int | None = None) -> tuple[int, int]:
    """Columns and rows of a sample sheet that fills an 8K screen: 32x32 up to 128 px, 7x4 from 1024 px on.

    limit: at most that many images, for slow machines; the sheet then is as square as it can be.
    """
    columns, rows = int(np.clip(7680 // resolution, 7, 32)), int(np.clip(4320 // resolution, 4, 32))
    if limit is not None and columns * rows > limit:
        columns = min(columns, max(round(limit**0.5), 1))
        rows = max(limit // columns, 1)
    return columns, rows
