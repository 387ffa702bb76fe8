"""Any size of picture to the size of the data set: cut, resized with antialiasing, or set on a canvas.

Letters: H and W height and width, C channels or planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from training.data.convert.options import Filter, Transform

_FILTERS = {
    'lanczos': Image.Resampling.LANCZOS,
    'bicubic': Image.Resampling.BICUBIC,
    'box': Image.Resampling.BOX,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A picture of the size asked for."""

    pixels: np.ndarray  # [H, W, C]
    enlarged: bool  # its own pixels were fewer than asked for


def fit(
    pixels: np.ndarray,  # [H, W, C] uint8 or uint16
    size: tuple[int, int],  # height, width
    transform: Transform | None,
    resize_filter: Filter,
    *,
    has_alpha: bool,  # the last channel is alpha
    canvas: Sequence[int],  # C numbers: the colour around a padded picture
) -> Fitted | None:
    """The picture at `size`; None for one too small for 'center-crop-wide', which never enlarges."""
    height, width = size
    if transform in ('center-crop', 'center-crop-wide'):
        pixels = _crop(pixels, size)
    enlarged = pixels.shape[0] < height or pixels.shape[1] < width
    if transform == 'pad':
        scale = min(height / pixels.shape[0], width / pixels.shape[1])
        inner = max(round(pixels.shape[0] * scale), 1), max(round(pixels.shape[1] * scale), 1)
        return Fitted(
            pixels=_center(resize(pixels, inner, resize_filter, has_alpha=has_alpha), size, canvas),
            enlarged=scale > 1,
        )
    # The published description is "drops too small images". Read as: fewer pixels, on either side, than asked for.
    if transform == 'center-crop-wide' and enlarged:
        return None
    pixels = resize(pixels, size, resize_filter, has_alpha=has_alpha)
    if transform == 'center-crop-wide':
        pixels = _center(pixels, (width, width), canvas)
    return Fitted(pixels=pixels, enlarged=enlarged)


def resize(pixels: np.ndarray, size: tuple[int, int], resize_filter: Filter, *, has_alpha: bool = False) -> np.ndarray:
    """Pixels [H, W, C] at `size`, each side by itself, with a filter that widens when it shrinks.

    8-bit grey and RGB are resized by Pillow in fixed point. All else goes plane by plane in float32. Where the last
    channel is alpha, colours are multiplied by it meanwhile: what is transparent then lends its neighbours nothing.
    """
    height, width = size
    if pixels.shape[:2] == size:
        return pixels
    kernel = _FILTERS[resize_filter]
    if pixels.dtype == np.uint8 and pixels.shape[2] in (1, 3):
        image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        return np.asarray(image.resize((width, height), kernel)).reshape(height, width, -1)
    largest = np.iinfo(pixels.dtype).max
    planes = pixels.astype(np.float32)
    if has_alpha:
        planes[..., :-1] *= planes[..., -1:] / largest
    resized = [np.asarray(Image.fromarray(plane).resize((width, height), kernel)) for plane in _planes(planes)]
    result = np.stack(resized, axis=-1)  # [H, W, C] float32
    if has_alpha:
        # Where alpha rounds to nothing the colour is arbitrary, and a division would blow it up.
        alpha = np.where(result[..., -1:] >= 0.5, result[..., -1:], np.inf)
        result[..., :-1] *= largest / alpha
    return (result.clip(0, largest) + 0.5).astype(pixels.dtype)


def _planes(pixels: np.ndarray) -> np.ndarray:
    """[C, H, W], contiguous."""
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def _crop(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The largest centred rectangle with the aspect of `size`."""
    height, width = pixels.shape[:2]
    crop_height = min(height, max(round(width * size[0] / size[1]), 1))
    crop_width = min(width, max(round(height * size[1] / size[0]), 1))
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return pixels[top : top + crop_height, left : left + crop_width]


def _center(pixels: np.ndarray, size: tuple[int, int], canvas: Sequence[int]) -> np.ndarray:
    """Pixels in the middle of a canvas of `size` and one colour."""
    height, width, channels = pixels.shape
    result = np.empty([*size, channels], pixels.dtype)
    result[:] = canvas
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    result[top : top + height, left : left + width] = pixels
    return result
