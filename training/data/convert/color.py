"""Color conversions: profiles to sRGB, transparency over a color, gray and RGB, 8 and 16 bits.

Letters: H and W height and width, C channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

from training.data.stored_image import to_8_bits

# Rec. 601 luma in units of 1/65536, the weights of Pillow's own conversion to 'L'.
_LUMA = np.array([19595, 38470, 7471])
_SRGB_TOLERANCE = 2  # levels of 255: a profile that moves no color further counts as sRGB, and pixels do not change


class BadProfileError(Exception):
    """A color profile that cannot be read, or that belongs to another kind of picture."""


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Converts a loaded 8-bit image of mode L, LA, RGB, RGBA or CMYK from a profile to sRGB.

    Gray stays gray, alpha is kept, CMYK becomes RGB. Raises BadProfileError.
    """
    alpha = image.getchannel('A') if image.mode in ('LA', 'RGBA') else None
    opaque = image if alpha is None else image.convert(image.mode.removesuffix('A'))
    space = _space(profile)
    as_rgb = opaque.mode == 'L' and space == 'RGB'  # common but wrong: a gray level v then means the color (v, v, v)
    transform = _transform(profile, 'RGB' if as_rgb else opaque.mode)
    if transform is None:
        return image
    converted = transform.apply(opaque.convert('RGB') if as_rgb else opaque)
    if opaque.mode == 'L':
        converted = converted.getchannel('G')  # red, green and blue are equal
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def over(pixels: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Composites pixels [H, W, 2 or 4] over a color (RGB, 0 to 255); returns [H, W, 1 or 3], same dtype, rounded.

    Gray pixels take the luma of the color. Stored values are mixed, as in browsers, not linear light.
    """
    largest = np.iinfo(pixels.dtype).max
    ground = np.array(color) * (largest // 255)
    ground = ground if pixels.shape[2] == 4 else (ground @ _LUMA + 0x8000 >> 16)
    wide = pixels.astype(np.int64)
    colors, alpha = wide[..., :-1], wide[..., -1:]
    return ((colors * alpha + ground * (largest - alpha) + largest // 2) // largest).astype(pixels.dtype)


def to_mode(pixels: np.ndarray, mode: str) -> np.ndarray:
    """Converts pixels [H, W, C] to mode 'L' or 'RGB'; an alpha channel is kept."""
    channels = pixels.shape[2]
    colors, alpha = np.split(pixels, [channels - 1 + channels % 2], axis=2)
    if mode == 'RGB' and colors.shape[2] == 1:
        colors = colors.repeat(3, axis=2)
    if mode == 'L' and colors.shape[2] == 3:
        colors = (colors @ _LUMA + 0x8000 >> 16).astype(pixels.dtype)[..., np.newaxis]
    return np.concatenate([colors, alpha], axis=2)


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    """Adds an opaque alpha channel to pixels [H, W, C], unless they have one."""
    if pixels.shape[2] % 2 == 0:
        return pixels
    opaque = np.full([*pixels.shape[:2], 1], np.iinfo(pixels.dtype).max, pixels.dtype)
    return np.concatenate([pixels, opaque], axis=2)


def to_bits(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Converts uint8 or uint16 pixels to `bits` bits: v * 255 / 65535 rounded, or v * 257."""
    if bits == 8:
        return to_8_bits(pixels)
    if bits == 16 and pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) * np.uint16(257)
    return pixels


@functools.lru_cache(maxsize=16)
def _space(profile: bytes) -> str:
    """Returns the color space of a profile: 'RGB', 'GRAY', 'CMYK', ..."""
    return _read(profile).profile.xcolor_space.strip()


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform from a profile to sRGB, or None if it changes nothing that matters."""
    try:
        transform = ImageCms.buildTransform(_read(profile), ImageCms.createProfile('sRGB'), mode, 'RGB')
    except (ImageCms.PyCMSError, ValueError) as error:
        raise BadProfileError(str(error)) from error
    return None if _is_identity(transform, mode) else transform


def _read(profile: bytes) -> ImageCms.ImageCmsProfile:
    """Parses a profile. Raises BadProfileError."""
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (OSError, ValueError, TypeError) as error:
        raise BadProfileError(str(error)) from error


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform leaves a sample of all colors unchanged.

    The effect decides, not the name, because sRGB has dozens of profiles. A needless conversion would round the pixels.
    """
    if mode == 'CMYK':
        return False
    steps = np.arange(0, 256, 17 if mode == 'RGB' else 1, dtype=np.uint8)
    grid = np.stack(np.meshgrid(*[steps] * (3 if mode == 'RGB' else 1), indexing='ij'), axis=-1)
    sample = grid.reshape(1, -1, grid.shape[-1])  # [1, colors, C]
    moved = np.asarray(transform.apply(Image.fromarray(sample.squeeze(2) if mode == 'L' else sample)))
    return bool(np.abs(moved.astype(int) - sample).max() <= _SRGB_TOLERANCE)
