"""Decoding of PNG, JPEG and WebP files, which are validated before decoding.

Pillow is kept from guessing (it receives a list of formats, never all seventy), from allocating what a header merely
claims, and from ignoring damage. No setting of Pillow is changed, because its settings are global.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from dnnlib.errors import DataError
from training.data.png_file import PNG_SIGNATURE, check_chunks, check_lines, read_header

PICTURE_EXTENSIONS = ('.png', '.jpg', '.jpeg', '.webp')
FORMATS = ('PNG', 'JPEG', 'WEBP')
MAX_PIXELS = 2**26  # 8192 x 8192
MAX_JPEG_PIXELS = 2**28  # limit for a JPEG that is decoded at a fraction of its size
TOO_MANY_PIXELS = f'images of more than {MAX_PIXELS:,} pixels are refused'
EXIF_ORIENTATION = 0x0112  # tag

_TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_FRACTIONS = (2, 4, 8)  # a JPEG can be decoded at 1/2, 1/4 and 1/8 of its size


class TooManyPixelsError(DataError):
    """An image whose header claims more than MAX_PIXELS pixels."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings of libraries about odd files, such as damaged EXIF; damage of the pixels is an error."""
    with warnings.catch_warnings(action='ignore'):
        yield


def open_image(
    data: bytes, where: str, formats: tuple[str, ...] = FORMATS, target: tuple[int, int] | None = None
) -> Image.Image:
    """Reads the header of an image: `.size` (width, height), `.mode`, `.format`. No pixel is decoded.

    Args:
        data: Contents of the file.
        where: Name of the file in messages.
        formats: Formats that Pillow may detect, whatever the file's name is.
        target: Height and width in pixels to which the caller shrinks the image. A JPEG of more than MAX_PIXELS pixels
            is then decoded at the largest fraction of its size that is allowed, if that is no smaller.

    Raises:
        DataError: The file is not an image, is animated, or claims more than MAX_PIXELS pixels.
    """
    try:
        image = _open(data, formats)
    except UnidentifiedImageError as error:
        expected = ', '.join(formats[:-1]) + ' or ' + formats[-1]
        state = 'is empty' if not data else f'is not a {expected} image, or its header is damaged'
        raise DataError(f'{where}: {state}') from error
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(f'{where}: {TOO_MANY_PIXELS}; make it smaller first') from error
    except Exception as error:  # a broken file can make a decoder raise anything
        raise DataError(f'{where}: cannot be read as an image ({error})') from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        _reduce(image, where, target)
    # A phone's JPEG holds its preview as a second frame; that is no animation.
    if image.format in ('PNG', 'WEBP') and getattr(image, 'is_animated', False):
        raise DataError(f'{where}: is an animation of {getattr(image, "n_frames", 0)} frames; expected one picture')
    return image


def _open(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    """Opens an image with Pillow, which refuses to open one of more than 178 million pixels, unless it is a JPEG."""
    with quiet():
        try:
            return Image.open(io.BytesIO(data), formats=formats)
        except Image.DecompressionBombError:
            if 'JPEG' not in formats or not data.startswith(b'\xff\xd8'):
                raise
            return JpegImagePlugin.JpegImageFile(io.BytesIO(data))


def _reduce(image: Image.Image, where: str, target: tuple[int, int] | None) -> None:
    """Makes a large JPEG decode at a fraction of its size. Raises TooManyPixelsError where that is not possible.

    Args:
        image: An image that has been opened.
        where: Name of the file in messages.
        target: Height and width in pixels of the upright image that the caller needs; None: the size of the file.
    """
    width, height = image.size
    fault = f'{where}: is {width}x{height}; {TOO_MANY_PIXELS}'
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or width * height > MAX_JPEG_PIXELS:
        raise TooManyPixelsError(f'{fault}; make it smaller first')
    fraction = next(f for f in _FRACTIONS if (width // f) * (height // f) <= MAX_PIXELS)
    size = width // fraction, height // fraction
    least = None if target is None else (target[1], target[0])  # width, height
    try:
        is_transposed = image.getexif().get(EXIF_ORIENTATION) in _TRANSPOSED
    except Exception:  # broken EXIF can make Pillow raise anything; it is reported when the image is decoded
        is_transposed = False
    if least is not None and is_transposed:
        least = least[::-1]
    if least is None or size[0] < least[0] or size[1] < least[1]:
        side = 2 ** (min(size).bit_length() - 1)  # a size for which networks can be built
        raise TooManyPixelsError(f'{fault}; dataset_tool.py shrinks it with --resolution={side}x{side} or less')
    image.draft(None, size)


def load_image(image: Image.Image, data: bytes, where: str) -> None:
    """Decodes the pixels of an image in place.

    Args:
        image: The image that `open_image(data)` returned.
        data: Contents of the file.
        where: Name of the file in messages.

    Raises:
        DataError: The file has damage that its format reveals.
    """
    is_png = data.startswith(PNG_SIGNATURE)
    if is_png:
        check_chunks(data, where)
    try:
        with quiet():
            image.load()
    except Exception as error:  # a broken file can make a decoder raise anything
        raise DataError(f'{where}: is cut short or damaged ({error})') from error
    if is_png and _may_lack_lines(image, data):
        check_lines(data, where)


def _may_lack_lines(image: Image.Image, data: bytes) -> bool:
    """Whether the last line of a loaded PNG is zero, as Pillow leaves lines that are not in the file.

    An interlaced PNG ends elsewhere, and may always lack lines. Most images need no second decompression.
    """
    width, height = image.size
    return read_header(data).is_interlaced or not np.asarray(image.crop((0, height - 1, width, height))).any()


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
    return image.mode.startswith('I;16') or (data.startswith(PNG_SIGNATURE) and read_header(data).bits == 16)


def to_array(image: Image.Image) -> np.ndarray:
    """Returns a loaded image without a `storage_fault` as uint8 or uint16 [C, H, W], contiguous."""
    pixels = np.asarray(image)  # [H, W, C] or [H, W]
    if pixels.ndim == 2:
        return pixels[np.newaxis].astype(np.uint8 if image.mode == 'L' else np.uint16)  # 16-bit gray may be int32
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
