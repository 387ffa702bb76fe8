"""Decoding of files from cameras, scanners or NumPy to pixels: upright, sRGB, 8 or 16 bits per channel.

Letters: H and W height and width, C channels or planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from dnnlib.errors import DataError
from training.data import array_file
from training.data.convert.color import BadProfileError, to_bits, to_srgb
from training.data.convert.png import decode_png_16
from training.data.convert.tiff import check_strips, decode_tiff_16, is_16_bit_tiff, is_negative
from training.data.picture_file import EXIF_ORIENTATION, FORMATS, is_16_bit, load_image, open_image, quiet
from training.data.png_file import PNG_SIGNATURE, check_chunks, chunks

SOURCE_EXTENSIONS = ('.png', '.jpg', '.jpeg', '.jfif', '.webp', '.bmp', '.gif', '.tif', '.tiff', '.ppm', '.pgm', '.npy')

_FORMATS = (*FORMATS, 'BMP', 'GIF', 'TIFF', 'PPM')
# Orientation to (transposed, flipped top to bottom, flipped left to right), applied in that order; EXIF 2.32, table 6.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """Pixels and their meaning."""

    pixels: np.ndarray  # [H, W, C] uint8 or uint16
    is_color: bool  # not gray, in the sense of `mode='auto'`
    is_planes: bool = False  # C planes of any content, from a .npy: no color, no alpha
    is_deep: bool = False  # the file has 16 bits per channel
    profile: str = ''  # '': none or applied; 'broken': unreadable; 'kept': not applied, because of 16 bits


@dataclass(frozen=True, slots=True)
class _Raw:
    """The result of one decoder: pixels and the properties that it read, and did not apply, itself."""

    pixels: Image.Image | np.ndarray  # 8 bits: L, LA, RGB, RGBA or CMYK; 16 bits: uint16 [H, W, C]
    orientation: int | None
    profile: bytes | None


def decode_picture(
    payload: bytes | np.ndarray, where: str, bits: int, target: tuple[int, int] | None = None
) -> Decoded:
    """Decodes a picture.

    Args:
        payload: Contents of a file, or pixels [H, W, C].
        where: Name of the picture in messages.
        bits: Limit of the bits per channel, 8 or 16.
        target: Height and width to which the caller shrinks the picture, see `picture_file.open_image`.

    Raises:
        DataError: The picture is damaged or not supported.
    """
    if isinstance(payload, np.ndarray):
        return _from_array(payload)
    if payload.startswith(array_file.SIGNATURE):
        planes = read_npy(payload, where)
        return _from_array(to_bits(planes, bits), is_deep=planes.dtype == np.uint16)
    with quiet():
        image = open_image(payload, where, _FORMATS, target)
        try:
            num_frames = getattr(image, 'n_frames', 1) if image.format in ('GIF', 'TIFF') else 1
            if num_frames > 1:
                raise DataError(f'{where}: holds {num_frames} frames or pages; expected one picture')
            if image.mode in ('I', 'F'):
                fault = f'has 32-bit pixels (mode {image.mode}) of unknown range'
                raise DataError(f'{where}: {fault}; expected 8 or 16 bits')
            return _finish(_read(image, payload, where), bits)
        except DataError:
            raise
        except Exception as error:  # EXIF, palettes and transparency are contents of the file and may be broken too
            raise DataError(f'{where}: cannot be converted ({error})') from error


def read_npy(data: bytes, where: str) -> np.ndarray:
    """Returns the planes in a .npy file, uint8 or uint16 [H, W, C]; [H, W] is one plane."""
    planes = array_file.read_pixels(array_file.read_header(data, where), data)  # [C, H, W]
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _from_array(pixels: np.ndarray, *, is_deep: bool = False) -> Decoded:
    """Wraps the pixels of an archive or a .npy file; `is_deep`: the file has 16 bits."""
    channels = pixels.shape[2]
    return Decoded(pixels=pixels, is_color=channels > 1, is_planes=channels not in (1, 3), is_deep=is_deep)


def _read(image: Image.Image, data: bytes, where: str) -> _Raw:
    """Decodes a file with the one decoder that keeps its bits.

    Args:
        image: The image that `open_image(data)` returned; no pixel is decoded yet.
        data: Contents of the file.
        where: Name of the file in messages.
    """
    if data.startswith(PNG_SIGNATURE) and is_16_bit(image, data):
        check_chunks(data, where)
        return _Raw(decode_png_16(data, where), _png_orientation(image, data), image.info.get('icc_profile'))
    if is_16_bit_tiff(image) and not image.mode.startswith('I;16'):
        return _Raw(*decode_tiff_16(data, where))
    check_strips(image, where)
    load_image(image, data, where)  # turns a TIFF upright
    orientation, profile = image.getexif().get(EXIF_ORIENTATION), image.info.get('icc_profile')
    if is_16_bit(image, data):
        pixels = np.asarray(image).astype(np.uint16)[..., np.newaxis]
        return _Raw(65535 - pixels if is_negative(image) else pixels, orientation, profile)
    return _Raw(image if image.mode == 'CMYK' else image.convert(_plain_mode(image)), orientation, profile)


def _finish(raw: _Raw, bits: int) -> Decoded:
    """Converts decoded pixels to sRGB and `bits` bits, and turns them upright."""
    pixels, state = raw.pixels, ''
    if isinstance(pixels, np.ndarray) and bits == 16:
        state = 'kept' if raw.profile else ''
    else:  # Pillow's color management has only an 8-bit path
        plain = pixels if isinstance(pixels, Image.Image) else _to_image(to_bits(pixels, 8))
        if raw.profile:
            try:
                plain = to_srgb(plain, raw.profile)
            except BadProfileError:
                state = 'broken'
        pixels = _to_array(plain.convert('RGB') if plain.mode == 'CMYK' else plain)
    pixels = _upright(pixels, raw.orientation)
    is_deep = isinstance(raw.pixels, np.ndarray)
    return Decoded(pixels=pixels, is_color=pixels.shape[2] > 2, is_deep=is_deep, profile=state)


def _png_orientation(image: Image.Image, data: bytes) -> int | None:
    """Returns the EXIF orientation of a PNG from its chunk eXIf, or from the text in which older programs keep it."""
    exif = Image.Exif()
    body = next((body for name, body in chunks(data) if name == b'eXIf'), None)
    text = image.info.get('Raw profile type exif')
    if body is None and text is not None:
        body = bytes.fromhex(''.join(text.split('\n')[3:]))
    if body is not None:
        exif.load(body)
    orientation: int | None = exif.get(EXIF_ORIENTATION)
    return orientation


def _plain_mode(image: Image.Image) -> str:
    """Returns the mode of L, LA, RGB and RGBA that holds an image. A palette counts as color."""
    is_gray = image.mode in ('1', 'L', 'LA', 'La')
    return ('L' if is_gray else 'RGB') + ('A' if image.has_transparency_data else '')


def _to_image(pixels: np.ndarray) -> Image.Image:
    """Returns uint8 [H, W, C] as an image."""
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def _to_array(image: Image.Image) -> np.ndarray:
    """Returns an 8-bit image as uint8 [H, W, C]."""
    pixels = np.asarray(image)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _upright(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    """Turns pixels [H, W, C] upright by their EXIF orientation; unknown orientations change nothing."""
    transposed, upside_down, mirrored = _TURNS.get(orientation or 1, (False, False, False))
    pixels = pixels.swapaxes(0, 1) if transposed else pixels
    pixels = pixels[::-1] if upside_down else pixels
    pixels = pixels[:, ::-1] if mirrored else pixels
    return np.ascontiguousarray(pixels)
