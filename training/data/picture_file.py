"""Decoding of PNG, JPEG and WebP files, which are validated before decoding.

Pillow is kept from guessing (it receives a list of formats, never all seventy), from allocating what a header merely
claims, and from ignoring damage. No setting of Pillow is changed, because its settings are global.
"""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from dnnlib.errors import DataError

PICTURE_EXTENSIONS = ('.png', '.jpg', '.jpeg', '.webp')
FORMATS = ('PNG', 'JPEG', 'WEBP')
MAX_PIXELS = 2**26  # 8192 x 8192
PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
EXIF_ORIENTATION = 0x0112  # tag

_PNG_BIT_DEPTH_AT = 24  # signature 8, chunk header 8, width 4, height 4


def open_image(data: bytes, where: str, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Reads the header of an image: `.size` (width, height), `.mode`, `.format`. No pixel is decoded.

    Args:
        data: Contents of the file.
        where: Name of the file in messages.
        formats: Formats that Pillow may detect, whatever the file's name is.

    Raises:
        DataError: The file is not an image, is animated, or claims more than MAX_PIXELS pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError as error:
        expected = ', '.join(formats[:-1]) + ' or ' + formats[-1]
        state = 'is empty' if not data else f'is not a {expected} image, or its header is damaged'
        raise DataError(f'{where}: {state}') from error
    except Exception as error:  # a broken file can make a decoder raise anything
        raise DataError(f'{where}: cannot be read as an image ({error})') from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f'{where}: is {width}x{height}; images of more than {MAX_PIXELS} pixels are refused')
    # A phone's JPEG holds its preview as a second frame; that is no animation.
    if image.format in ('PNG', 'WEBP') and getattr(image, 'is_animated', False):
        raise DataError(f'{where}: is an animation of {getattr(image, "n_frames", 0)} frames; expected one picture')
    return image


def load_image(image: Image.Image, data: bytes, where: str) -> None:
    """Decodes the pixels of an image in place.

    Args:
        image: The image that `open_image(data)` returned.
        data: Contents of the file.
        where: Name of the file in messages.

    Raises:
        DataError: The file has damage that its format reveals.
    """
    if data.startswith(PNG_SIGNATURE):
        _check_png_chunks(data, where)
    try:
        image.load()
    except Exception as error:  # a broken file can make a decoder raise anything
        raise DataError(f'{where}: is cut short or damaged ({error})') from error


def storage_fault(image: Image.Image, data: bytes) -> str | None:
    """Describes why an image is not 8-bit L, LA, RGB or RGBA, or 16-bit gray; returns None if it is."""
    if is_16_bit(image, data) and image.mode not in ('I;16', 'I'):
        return 'several channels of 16 bits'
    if image.mode in ('P', 'PA'):
        return f'a color palette (mode {image.mode})'
    if 'transparency' in image.info:
        return f'a transparent color (mode {image.mode})'
    if image.mode not in ('L', 'LA', 'RGB', 'RGBA') and not is_16_bit(image, data):
        return f'color mode {image.mode}'
    return None


def is_16_bit(image: Image.Image, data: bytes) -> bool:
    """Whether channels have 16 bits. Pillow opens a 16-bit RGB PNG as plain RGB, so the file's header decides."""
    return image.mode.startswith('I;16') or (data.startswith(PNG_SIGNATURE) and data[_PNG_BIT_DEPTH_AT] == 16)


def to_array(image: Image.Image) -> np.ndarray:
    """Returns a loaded image without a `storage_fault` as uint8 or uint16 [C, H, W], contiguous."""
    pixels = np.asarray(image)  # [H, W, C] or [H, W]
    if pixels.ndim == 2:
        return pixels[np.newaxis].astype(np.uint8 if image.mode == 'L' else np.uint16)  # 16-bit gray may be int32
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _check_png_chunks(data: bytes, where: str) -> None:
    """Checks the CRC of every critical chunk, up to IEND. Pillow does not check that of the pixels."""
    view, at = memoryview(data), len(PNG_SIGNATURE)
    while at + 12 <= len(data):  # length 4, type 4, data, CRC 4
        end = at + 8 + int.from_bytes(view[at : at + 4], 'big')
        kind = bytes(view[at + 4 : at + 8])
        if end + 4 > len(data):
            break
        critical = kind[:1].isupper()
        if critical and zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], 'big'):
            raise DataError(f'{where}: is damaged (PNG chunk {kind.decode("ascii", "replace")}: CRC does not match)')
        if kind == b'IEND':
            return
        at = end + 4
    raise DataError(f'{where}: is cut short (PNG without its end)')
