"""Decoding of files from cameras, scanners or NumPy to pixels: upright, sRGB, 8 or 16 bits per channel.

Letters: H and W height and width, C channels or planes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dnnlib.errors import DataError
from training.data import array_file
from training.data.convert.color import BadProfileError, to_bits, to_srgb
from training.data.convert.png import decode_png_16
from training.data.picture_file import EXIF_ORIENTATION, FORMATS, PNG_SIGNATURE, is_16_bit, load_image, open_image

SOURCE_EXTENSIONS = ('.png', '.jpg', '.jpeg', '.jfif', '.webp', '.bmp', '.gif', '.tif', '.tiff', '.ppm', '.pgm', '.npy')

_FORMATS = (*FORMATS, 'BMP', 'GIF', 'TIFF', 'PPM')
_BITS_PER_SAMPLE = 258  # TIFF tag
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
    profile: str = ''  # '': none or applied; 'broken': unreadable; 'kept': not applied, because of 16 bits


def decode_picture(payload: bytes | np.ndarray, where: str, bits: int) -> Decoded:
    """Decodes a picture.

    Args:
        payload: Contents of a file, or pixels [H, W, C].
        where: Name of the picture in messages.
        bits: Limit of the bits per channel, 8 or 16.

    Raises:
        DataError: The picture is damaged or not supported.
    """
    if isinstance(payload, np.ndarray):
        return _from_array(payload)
    if payload.startswith(array_file.SIGNATURE):
        return _from_array(to_bits(read_npy(payload, where), bits))
    image = open_image(payload, where, _FORMATS)
    if image.format in ('GIF', 'TIFF') and getattr(image, 'n_frames', 1) > 1:
        raise DataError(f'{where}: holds {image.n_frames} frames or pages; expected one picture')  # type: ignore[attr-defined]
    if image.mode in ('I', 'F'):
        raise DataError(f'{where}: has 32-bit pixels (mode {image.mode}) of unknown range; expected 8 or 16 bits')
    is_deep = is_16_bit(image, payload) or _is_16_bit_tiff(image)
    load_image(image, payload, where)
    try:
        return _decode_deep(image, payload, where, bits) if is_deep else _decode_8_bit(image)
    except DataError:
        raise
    except Exception as error:  # EXIF, palettes and transparency are contents of the file and may be broken too
        raise DataError(f'{where}: cannot be converted ({error})') from error


def read_npy(data: bytes, where: str) -> np.ndarray:
    """Returns the planes in a .npy file, uint8 or uint16 [H, W, C]; [H, W] is one plane."""
    planes = array_file.read_pixels(array_file.read_header(data, where), data)  # [C, H, W]
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _from_array(pixels: np.ndarray) -> Decoded:
    """Wraps the pixels of an archive or a .npy file."""
    channels = pixels.shape[2]
    return Decoded(pixels=pixels, is_color=channels > 1, is_planes=channels not in (1, 3))


def _decode_8_bit(image: Image.Image) -> Decoded:
    """Decodes a loaded image of at most 8 bits per channel."""
    orientation = image.getexif().get(EXIF_ORIENTATION)
    profile = image.info.get('icc_profile')
    plain = image if image.mode == 'CMYK' else image.convert(_plain_mode(image))
    state = ''
    if profile:
        try:
            plain = to_srgb(plain, profile)
        except BadProfileError:
            state = 'broken'
    if plain.mode == 'CMYK':
        plain = plain.convert('RGB')
    pixels = _upright(_to_array(plain), orientation)
    return Decoded(pixels=pixels, is_color=pixels.shape[2] > 2, profile=state)


def _decode_deep(image: Image.Image, data: bytes, where: str, bits: int) -> Decoded:
    """Decodes a loaded image of 16 bits per channel.

    Args:
        image: The loaded image.
        data: Contents of its file.
        where: Name of the file in messages.
        bits: Bits per channel of the result, 8 or 16.
    """
    if data.startswith(PNG_SIGNATURE):
        pixels = decode_png_16(data, where)
    elif image.mode.startswith('I;16'):
        pixels = np.asarray(image).astype(np.uint16)[..., np.newaxis]
    else:
        pixels = _read_tiff_16(data, where)
    if bits == 8:
        # Pillow's color management has only an 8-bit path.
        small = Image.fromarray(to_bits(pixels, 8).squeeze(2) if pixels.shape[2] == 1 else to_bits(pixels, 8))
        small.info['icc_profile'] = image.info.get('icc_profile')
        small.getexif()[EXIF_ORIENTATION] = image.getexif().get(EXIF_ORIENTATION, 1)
        return _decode_8_bit(small)
    state = 'kept' if image.info.get('icc_profile') else ''
    pixels = _upright(pixels, image.getexif().get(EXIF_ORIENTATION))
    return Decoded(pixels=pixels, is_color=pixels.shape[2] > 2, profile=state)


def _plain_mode(image: Image.Image) -> str:
    """Returns the mode of L, LA, RGB and RGBA that holds an image. A palette counts as color."""
    is_gray = image.mode in ('1', 'L', 'LA', 'La')
    return ('L' if is_gray else 'RGB') + ('A' if image.has_transparency_data else '')


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


def _is_16_bit_tiff(image: Image.Image) -> bool:
    """Whether an image is a TIFF of 16 bits per channel. Pillow opens 16-bit RGB as plain RGB."""
    return image.format == 'TIFF' and 16 in image.tag_v2.get(_BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]


def _read_tiff_16(data: bytes, where: str) -> np.ndarray:
    """Reads the 16-bit color of a TIFF, uint16 [H, W, C], with the tifffile package."""
    try:
        import tifffile
    except ImportError as error:
        way_out = 'pip install ".[tiff]", or save it as a 16-bit PNG'
        raise DataError(f'{where}: is a TIFF of 16-bit color, which needs the tifffile package; {way_out}') from error
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first  # a whole page: later ones may be abridged
        if page.photometric != tifffile.PHOTOMETRIC.RGB or page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
            raise DataError(f'{where}: is a 16-bit TIFF that is not plain RGB; save it as a 16-bit PNG')
        pixels = page.asarray()  # [H, W, C]
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint16:
        raise DataError(f'{where}: is a TIFF of {pixels.dtype} {list(pixels.shape)}; save it as a 16-bit PNG')
    return pixels
