"""Images for the page: the PNG of generate.py, and drafts that are encoded faster.

Letters: C channels, H and W image size.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image

from torch_utils.images import fits_png, shown, write_png
from training.data.stored_image import to_8_bits

LOSSLESS_PIXELS = 2**17  # larger drafts are lossy, because their encoding would take longer than their drawing
QUALITY = 85  # quality of lossy drafts


def png_of(image: np.ndarray, info: dict[str, Any]) -> bytes:
    """Returns [C, H, W] as the PNG that `drawing.save_image` writes, with its text chunks."""
    file = io.BytesIO()
    write_png(image if fits_png(image) else shown(to_8_bits(image)), file, info)
    return file.getvalue()


def webp_of(image: np.ndarray) -> bytes:
    """Returns [C, H, W] as a WebP of 8 bits."""
    pixels = np.ascontiguousarray(shown(to_8_bits(image)).transpose(1, 2, 0))  # [H, W, C]
    picture = PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    file = io.BytesIO()
    if picture.width * picture.height <= LOSSLESS_PIXELS:
        picture.save(file, 'WEBP', lossless=True, exact=True, quality=0, method=0)  # quality: effort
    else:
        picture.save(file, 'WEBP', quality=QUALITY, method=0)
    return file.getvalue()
