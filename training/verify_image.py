"""One image file: whether its pixels can be had, what they are, and the few numbers that are kept of them.

Runs in worker processes, one image at a time; what comes back is some 500 bytes.

Letters: H height, W width, C channels.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dnnlib.errors import DataError
from training.duplicates import SIDE, frequencies
from training.image_decode import MAX_PIXELS, is_16_bit, load_image, open_image
from training.image_source import ImageSource
from training.verify_findings import words_of

_CHANNELS = {'L': 1, 'LA': 2, 'RGB': 3, 'RGBA': 4}  # of the modes that can be trained on, at 8 bits
_EXIF_ORIENTATION = 0x0112
_FLAT = 1.0  # standard deviation in levels of 255, below which a channel holds nothing


@dataclass(frozen=True, slots=True)
class Pixels:
    """A decoded image. fault: (kind, words) of what keeps it from training although it decodes."""

    array: np.ndarray  # uint8 or uint16 [H, W, C]
    fault: tuple[str, str] | None = None
    rotated: bool = False  # EXIF asks for another orientation


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of one image file. Without pixels, height and width are 0."""

    problems: tuple[tuple[str, str], ...] = ()  # (kind, words)
    file_bytes: int = 0
    file_digest: bytes = b''  # sha256 of the file, where a manifest asks for it
    height: int = 0
    width: int = 0
    channels: int = 0  # 0: not in a form that can be trained on
    bits: int = 8
    flat: bool = False
    mean: tuple[float, ...] = ()  # of each channel, in [0, 1]
    mean_square: tuple[float, ...] = ()
    pixels_digest: bytes = b''  # sha256 of type, shape and pixels
    spectrum: np.ndarray | None = None  # float16 [64], see duplicates.frequencies


class ImageFault(Exception):
    """An image without pixels: kind and words of the finding."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(kind, words)
        self.kind, self.words = kind, words


def look_at(source: ImageSource, index: int, *, digest: bool, hashes: bool) -> Look:
    """Reads, decodes and measures image `index`. digest: of the file too. hashes: of the pixels too."""
    where = source.where(index)
    try:
        data = source.read(index)
    except DataError as error:
        kind = 'unreadable' if isinstance(error.__cause__, OSError) else 'crc'
        return Look(problems=((kind, words_of(error, where)),))
    file_digest = hashlib.sha256(data).digest() if digest else b''
    try:
        pixels = decode(data, source.name(index))
    except ImageFault as fault:
        return Look(problems=((fault.kind, fault.words),), file_bytes=len(data), file_digest=file_digest)
    array = pixels.array  # [H, W, C]
    mean, mean_square = _moments(array)
    scale = 255 * np.sqrt(np.maximum(mean_square - mean**2, 0))  # [C]
    problems = [pixels.fault] if pixels.fault else []
    if pixels.rotated:
        problems.append(('rotated', 'its EXIF orientation asks to turn it'))
    return Look(
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


def decode(data: bytes, name: str) -> Pixels:
    """The pixels of an image file; raises ImageFault where there are none."""
    if name.lower().endswith('.npy'):
        return Pixels(_read_array(data))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Pillow's, of damaged EXIF and the like
        try:
            image = open_image(data, name)
            load_image(image, data, name)
            return _pixels(image, data)
        except DataError as error:
            words = words_of(error, name)
            raise ImageFault(_kind_of(error, words, data), words) from error


def thumbnail(array: np.ndarray, side: int = SIDE) -> np.ndarray:
    """uint8 or uint16 [H, W, C] as uint8 RGB [side, side, 3], stretched, box-averaged; see `to_rgb`."""
    image = Image.fromarray(to_rgb(array)).resize((side, side), Image.Resampling.BOX)
    return np.asarray(image)


def to_rgb(array: np.ndarray) -> np.ndarray:
    """uint8 or uint16 [H, W, C] as people look at it, uint8 [H, W, 3].

    16 bits lose the low byte, alpha (the last of 2 or 4) is laid over white, of more than 4 channels the first 3 count.
    """
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    channels = array.shape[2]
    colour = array[:, :, : 1 if channels <= 2 else 3]
    if channels in (2, 4):
        alpha = array[:, :, -1:].astype(np.uint16)
        colour = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))


def _pixels(image: Image.Image, data: bytes) -> Pixels:
    """A loaded image as an array, with what keeps its form from training."""
    rotated = 'exif' in image.info and _orientation(image) not in (None, 1)
    sixteen = is_16_bit(image, data)
    if sixteen and image.mode.startswith('I'):
        return Pixels(np.asarray(image).astype(np.uint16)[:, :, np.newaxis], None, rotated)
    fault = None
    if sixteen:
        fault = '16-bit-colour', 'has 16 bits a channel, of which Pillow reads 8; as .npy all 16 can be trained on'
    elif image.mode in ('P', 'PA'):
        fault = 'palette', f'has a colour palette (mode {image.mode})'
    elif image.mode not in _CHANNELS:
        fault = 'colour-mode', f'has colour mode {image.mode}; expected grey or RGB, with alpha or without'
    elif 'transparency' in image.info:
        fault = 'transparent-colour', f'makes one colour transparent (mode {image.mode}); expected an alpha channel'
    if image.mode not in _CHANNELS:
        image = image.convert('RGB')
    array = np.asarray(image)  # [H, W] or [H, W, C]
    return Pixels(array if array.ndim == 3 else array[:, :, np.newaxis], fault, rotated)


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # broken EXIF can make Pillow raise anything, and training never reads it
        return None


def _kind_of(error: DataError, words: str, data: bytes) -> str:
    """The kind of a refusal of `open_image` or `load_image`."""
    if words.startswith('is an animation'):
        return 'animation'
    if isinstance(error.__cause__, Image.DecompressionBombError) or words.endswith('pixels are refused'):
        return 'too-many-pixels'
    whole = _is_whole(data)
    if whole is None:
        return 'not-an-image'
    return 'damaged' if whole else 'truncated'


def _is_whole(data: bytes) -> bool | None:
    """Whether a file has the end that its format asks for; None for what is no PNG, JPEG or WebP."""
    if data.startswith(b'\x89PNG\r\n\x1a\n'):
        return b'IEND\xaeB`\x82' in data[-64:]
    if data.startswith(b'\xff\xd8'):
        return data.rstrip(b'\0').endswith(b'\xff\xd9')
    if data.startswith(b'RIFF') and data[8:12] == b'WEBP':
        return len(data) >= 8 + int.from_bytes(data[4:8], 'little')
    return None


def _read_array(data: bytes) -> np.ndarray:
    """A .npy file as uint8 or uint16 [H, W, C]; its header is checked before anything is made of it."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(file)
    except Exception as error:  # a broken header can make NumPy raise anything
        raise ImageFault('array', f'is no .npy file that can be read ({str(error) or type(error).__name__})') from error
    if dtype.hasobject:
        raise ImageFault('array', 'holds Python objects, which are not loaded')
    if dtype.kind != 'u' or dtype.itemsize > 2:
        raise ImageFault('array', f'holds {dtype}; expected uint8 or uint16')
    if len(shape) not in (2, 3) or 0 in shape:
        raise ImageFault('array', f'has shape {list(shape)}; expected [H, W, C] or [H, W]')
    if shape[0] * shape[1] > MAX_PIXELS:
        raise ImageFault('too-many-pixels', f'is {shape[1]}x{shape[0]}; more than {MAX_PIXELS} pixels are refused')
    expected, there = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    if there < expected:
        raise ImageFault('truncated', f'is cut short ({there} bytes of {expected})')
    array = np.frombuffer(data, dtype, math.prod(shape), file.tell()).reshape(shape, order='F' if fortran else 'C')
    array = array.astype(array.dtype.newbyteorder('='))
    return np.ascontiguousarray(array if array.ndim == 3 else array[:, :, np.newaxis])


def _moments(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and mean square of each channel in [0, 1], float64 [C] each; from histograms, exactly."""
    levels = 2 ** (8 * array.itemsize)
    value = np.arange(levels) / (levels - 1)
    counts = np.stack([np.bincount(array[:, :, c].ravel(), minlength=levels) for c in range(array.shape[2])])
    pixels = array.shape[0] * array.shape[1]
    return counts @ value / pixels, counts @ value**2 / pixels
