"""Adaptation of pictures of any size to the size of the data set: crop, antialiased resize, or padding.

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
    """A picture of the requested size."""

    pixels: np.ndarray  # [H, W, C]
    enlarged: bool  # the picture was smaller than requested


def fit(
    pixels: np.ndarray,
    size: tuple[int, int],
    transform: Transform | None,
    resize_filter: Filter,
    *,
    has_alpha: bool,
    canvas: Sequence[int],
) -> Fitted | None:
    """Adapts a picture to a size.

    Args:
        pixels: Picture, [H, W, C] uint8 or uint16.
        size: Height and width in pixels.
        transform: How the picture is adapted; None resizes it.
        resize_filter: Filter of the resize.
        has_alpha: Whether the last channel is alpha.
        canvas: Color around a padded picture, C numbers.

    Returns:
        The picture, or None if it is too small for 'center-crop-wide', which never enlarges.
    """
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
    # Reading: the published description, "drops too small images", means fewer pixels on either side than requested.
    if transform == 'center-crop-wide' and enlarged:
        return None
    pixels = resize(pixels, size, resize_filter, has_alpha=has_alpha)
    if transform == 'center-crop-wide':
        pixels = _center(pixels, (width, width), canvas)
    return Fitted(pixels=pixels, enlarged=enlarged)


def resize(pixels: np.ndarray, size: tuple[int, int], resize_filter: Filter, *, has_alpha: bool = False) -> np.ndarray:
    """Resizes a picture, each side independently, with a filter that widens when it shrinks.

    Pillow resizes 8-bit gray and RGB in fixed point. Everything else is resized plane by plane in float32. With alpha,
    colors are premultiplied by it, so that transparent pixels do not bleed into their neighbors.

    Args:
        pixels: Picture, [H, W, C] uint8 or uint16.
        size: Height and width in pixels.
        resize_filter: Filter of the resize.
        has_alpha: Whether the last channel is alpha.

    Returns:
        Picture of that size, same dtype.
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
        # If alpha rounds to 0, the color is arbitrary, and the division would amplify it.
        alpha = np.where(result[..., -1:] >= 0.5, result[..., -1:], np.inf)
        result[..., :-1] *= largest / alpha
    return (result.clip(0, largest) + 0.5).astype(pixels.dtype)


def _planes(pixels: np.ndarray) -> np.ndarray:
    """Returns pixels [H, W, C] as contiguous planes [C, H, W]."""
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def _crop(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crops the largest centered rectangle with the aspect ratio of `size`."""
    height, width = pixels.shape[:2]
    crop_height = min(height, max(round(width * size[0] / size[1]), 1))
    crop_width = min(width, max(round(height * size[1] / size[0]), 1))
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return pixels[top : top + crop_height, left : left + crop_width]


def _center(pixels: np.ndarray, size: tuple[int, int], canvas: Sequence[int]) -> np.ndarray:
    """Places a picture in the middle of a canvas of one color.

    Args:
        pixels: Picture, [H, W, C].
        size: Height and width of the canvas in pixels.
        canvas: Color of the canvas, C numbers.
    """
    height, width, channels = pixels.shape
    result = np.empty([*size, channels], pixels.dtype)
    result[:] = canvas
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    result[top : top + height, left : left + width] = pixels
    return result
