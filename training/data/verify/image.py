"""Check of one image file: its faults, its layout, and the few numbers that are kept of its pixels.

It runs in worker processes, one image at a time, and returns about 500 bytes.

Letters: H height, W width, C channels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dnnlib.errors import DataError
from training.data import array_file
from training.data.convert.color import over
from training.data.convert.options import WHITE
from training.data.picture_file import (
    EXIF_ORIENTATION,
    TooManyPixelsError,
    is_16_bit,
    load_image,
    open_image,
    quiet,
    storage_fault,
    to_array,
)
from training.data.png_file import PNG_SIGNATURE
from training.data.source import ImageSource
from training.data.stored_image import to_8_bits
from training.data.verify.findings import words_of
from training.data.verify.similar import THUMBNAIL_SIDE, frequencies

_FLAT = 1.0  # standard deviation in levels of 255 below which a channel holds a single color


@dataclass(frozen=True, slots=True)
class Pixels:
    """A decoded image."""

    array: np.ndarray  # uint8 or uint16 [H, W, C]
    fault: tuple[str, str] | None = None  # (kind, message) of a fault that prevents training although it decodes
    rotated: bool = False  # EXIF has another orientation


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """The facts that are kept of one image file. Without pixels, height and width are 0."""

    problems: tuple[tuple[str, str], ...] = ()  # (kind, message)
    file_bytes: int = 0
    file_digest: bytes = b''  # sha256 of the file, if a manifest needs it
    height: int = 0
    width: int = 0
    channels: int = 0  # 0: the form cannot be trained on
    bits: int = 8
    flat: bool = False
    mean: tuple[float, ...] = ()  # per channel, in [0, 1]
    mean_square: tuple[float, ...] = ()
    pixels_digest: bytes = b''  # sha256 of type, shape and pixels
    spectrum: np.ndarray | None = None  # float16 [64], see similar.frequencies


class ImageFault(Exception):
    """A fault of an image without pixels."""

    def __init__(self, kind: str, words: str) -> None:
        """Takes kind and message of the finding."""
        super().__init__(kind, words)
        self.kind, self.words = kind, words


def summarize_image(source: ImageSource, index: int, *, digest: bool, hashes: bool) -> ImageSummary:
    """Reads, decodes and measures an image.

    Args:
        source: Images of the data set.
        index: Position of the image in the source.
        digest: Whether to hash the file.
        hashes: Whether to hash the pixels.
    """
    where = source.where(index)
    try:
        data = source.read(index)
    except DataError as error:
        kind = 'unreadable' if isinstance(error.__cause__, OSError) else 'crc'
        return ImageSummary(problems=((kind, words_of(error, where)),))
    file_digest = hashlib.sha256(data).digest() if digest else b''
    try:
        pixels = decode_image(data, source.name(index))
    except ImageFault as fault:
        return ImageSummary(problems=((fault.kind, fault.words),), file_bytes=len(data), file_digest=file_digest)
    array = pixels.array  # [H, W, C]
    mean, mean_square = _moments(array)
    scale = 255 * np.sqrt(np.maximum(mean_square - mean**2, 0))  # [C]
    problems = [pixels.fault] if pixels.fault else []
    if pixels.rotated:
        problems.append(('rotated', 'its EXIF orientation asks to turn it'))
    return ImageSummary(
        problems=tuple(problems),
        file_bytes=len(data),
        file_digest=file_digest,
        height=array.shape[0],
        width=array.shape[1],
        channels=0 if pixels.fault else array.shape[2],
        bits=8 * array.itemsize,
        flat=bool((scale < _FLAT).all()),
        mean=tuple(mean.tolist()),
        mean_square=tuple(mean_square.tolist()),
        pixels_digest=hashlib.sha256(f'{array.dtype} {array.shape} '.encode() + array.tobytes()).digest()
        if hashes
        else b'',
        spectrum=frequencies(thumbnail(array)) if hashes else None,
    )


def decode_image(data: bytes, name: str) -> Pixels:
    """Decodes an image file. Raises ImageFault when it has no pixels."""
    if name.lower().endswith(array_file.ARRAY_EXTENSION):
        return _decode_array(data, name)
    with quiet():
        try:
            image = open_image(data, name)
            load_image(image, data, name)
            return _pixels(image, data)
        except DataError as error:
            words = words_of(error, name)
            raise ImageFault(_kind_of(error, words, data), words) from error


def thumbnail(array: np.ndarray, side: int = THUMBNAIL_SIDE) -> np.ndarray:
    """Resizes uint8 or uint16 [H, W, C] to uint8 RGB [side, side, 3], box-averaged; see `displayed_rgb`."""
    image = Image.fromarray(displayed_rgb(array)).resize((side, side), Image.Resampling.BOX)
    return np.asarray(image)


def displayed_rgb(array: np.ndarray) -> np.ndarray:
    """Converts uint8 or uint16 [H, W, C] for display to uint8 [H, W, 3].

    With alpha (the last of 2 or 4 channels), the background is white; of more than 4 channels, the first 3 are shown.
    """
    array = to_8_bits(array)
    channels = array.shape[2]
    color = over(array, WHITE) if channels in (2, 4) else array[:, :, : 1 if channels == 1 else 3]  # [H, W, 1 or 3]
    return np.ascontiguousarray(np.broadcast_to(color, (*color.shape[:2], 3)))


def _pixels(image: Image.Image, data: bytes) -> Pixels:
    """Returns a loaded image as an array, with the fault of its form. Palettes and unusual modes become RGB."""
    rotated = 'exif' in image.info and _orientation(image) not in (None, 1)
    words, sixteen = storage_fault(image, data), is_16_bit(image, data)
    if words is None:
        return Pixels(to_array(image).transpose(1, 2, 0), None, rotated)
    if image.mode in ('P', 'PA'):
        kind = 'palette'
    elif sixteen:
        kind = '16-bit-colour'  # Pillow reads 8 of the bits
    else:
        kind = 'transparent-colour' if 'transparency' in image.info else 'colour-mode'
    return Pixels(np.asarray(image.convert('RGB')), (kind, f'has {words}'), rotated)


def _decode_array(data: bytes, name: str) -> Pixels:
    """Decodes a .npy file."""
    try:
        header = array_file.read_header(data, name)
    except DataError as error:
        words = words_of(error, name)
        kind = 'truncated' if words.startswith('is cut short') else 'array'
        raise ImageFault('too-many-pixels' if isinstance(error, TooManyPixelsError) else kind, words) from error
    return Pixels(array_file.read_pixels(header, data).transpose(1, 2, 0))


def _orientation(image: Image.Image) -> int | None:
    """Returns the EXIF orientation, or None if there is none or EXIF is broken."""
    try:
        return image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # broken EXIF can make Pillow raise anything, and training never reads it
        return None


def _kind_of(error: DataError, words: str, data: bytes) -> str:
    """Returns the kind of an error of `open_image` or `load_image`.

    Args:
        error: The error.
        words: Its message without the name of the file.
        data: Contents of the file.
    """
    if words.startswith('is an animation'):
        return 'animation'
    if isinstance(error, TooManyPixelsError):
        return 'too-many-pixels'
    whole = _is_whole(data)
    if whole is None:
        return 'not-an-image'
    return 'damaged' if whole else 'truncated'


def _is_whole(data: bytes) -> bool | None:
    """Whether a file has the end that its format requires; None if it is not PNG, JPEG or WebP."""
    if data.startswith(PNG_SIGNATURE):
        return b'IEND\xaeB`\x82' in data[-64:]
    if data.startswith(b'\xff\xd8'):
        return data.rstrip(b'\0').endswith(b'\xff\xd9')
    if data.startswith(b'RIFF') and data[8:12] == b'WEBP':
        return len(data) >= 8 + int.from_bytes(data[4:8], 'little')
    return None


def _moments(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and mean square of each channel in [0, 1], float64 [C] each, exactly, from histograms."""
    levels = 2 ** (8 * array.itemsize)
    value = np.arange(levels) / (levels - 1)
    counts = np.stack([np.bincount(array[:, :, c].ravel(), minlength=levels) for c in range(array.shape[2])])
    pixels = array.shape[0] * array.shape[1]
    return counts @ value / pixels, counts @ value**2 / pixels
