"""TIFFs of 16-bit color, of which Pillow keeps 8 bits: pixels and properties, read with the tifffile package.

Letters: H and W height and width, C channels: 3 RGB, 4 RGB and alpha.
"""

from __future__ import annotations

import contextlib
import io
import logging
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from dnnlib.errors import DataError
from training.data.picture_file import MAX_PIXELS, TOO_MANY_PIXELS, TooManyPixelsError

# Tags of TIFF 6.0 and of the ICC specification.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION, _PLANAR_CONFIG, _ICC_PROFILE = 258, 262, 274, 284, 34675
_SEPARATE = 2  # value of _PLANAR_CONFIG: one layer per channel
_WHITE_IS_ZERO = 0  # value of _PHOTOMETRIC
_NO_COMPRESSION, _DEFLATE = 1, (8, 32946)
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of alpha; others are not alpha


def is_16_bit_tiff(image: Image.Image) -> bool:
    """Whether an image is a TIFF of 16 bits per channel. Pillow opens 16-bit RGB as plain RGB."""
    return image.format == 'TIFF' and 16 in image.tag_v2.get(_BITS_PER_SAMPLE, ())  # type: ignore[attr-defined]


def is_negative(image: Image.Image) -> bool:
    """Whether 0 is white in a TIFF. Pillow inverts such pictures of 8 bits, and not those of 16."""
    return image.format == 'TIFF' and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO  # type: ignore[attr-defined]


def check_strips(image: Image.Image, where: str) -> None:
    """Raises DataError for a TIFF whose strips or tiles do not cover it; Pillow leaves the rest at zero."""
    if image.format != 'TIFF':
        return
    layers = len(image.getbands()) if image.tag_v2.get(_PLANAR_CONFIG) == _SEPARATE else 1  # type: ignore[attr-defined]
    areas = [(right - left) * (bottom - top) for _, (left, top, right, bottom), *_ in image.tile]  # type: ignore[attr-defined]
    needed = image.width * image.height * (1 if len(areas) == 1 else layers)  # libtiff decodes all layers together
    if sum(areas) < needed:
        raise DataError(f'{where}: is cut short or damaged (its strips or tiles hold {sum(areas)} of {needed} pixels)')


def decode_tiff_16(data: bytes, where: str) -> tuple[np.ndarray, int | None, bytes | None]:
    """Reads the 16-bit color of a TIFF.

    Args:
        data: Contents of the file.
        where: Name of the file in messages.

    Returns:
        Pixels as stored, uint16 [H, W, C]; the orientation to which they must be turned; and the color profile.

    Raises:
        DataError: The file is damaged, is not plain RGB, or the package is not installed.
    """
    try:
        import tifffile
    except ImportError as error:
        way_out = 'pip install ".[tiff]", or save it as a 16-bit PNG'
        raise DataError(f'{where}: is a TIFF of 16-bit color, which needs the tifffile package; {way_out}') from error
    with _silent(), tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages.first  # a whole page: later ones may be abridged
        if page.photometric != tifffile.PHOTOMETRIC.RGB or page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
            raise DataError(f'{where}: is a 16-bit TIFF that is not plain RGB; save it as a 16-bit PNG')
        shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
        if page.dtype != np.uint16 or page.shape != shape or shape[2] not in (3, 4):
            raise DataError(f'{where}: is a TIFF of {page.dtype} {list(page.shape)}; save it as a 16-bit PNG')
        if shape[0] * shape[1] > MAX_PIXELS:
            raise TooManyPixelsError(f'{where}: is {shape[1]}x{shape[0]}; {TOO_MANY_PIXELS}; make it smaller first')
        _check_segments(page, data, where)
        pixels = page.asarray()  # [H, W, C]
        orientation, profile = (page.tags.get(tag) for tag in (_ORIENTATION, _ICC_PROFILE))
        kinds = [int(kind) for kind in page.extrasamples]
    return (
        _with_alpha(pixels, kinds),
        None if orientation is None else int(orientation.value),
        None if profile is None else bytes(profile.value),
    )


def _check_segments(page: Any, data: bytes, where: str) -> None:
    """Checks that every strip or tile is in the file and has all its pixels; tifffile fills absent ones with zeros.

    Only segments without compression or with deflate are measured; other decoders raise errors of their own.

    Args:
        page: Page of tifffile.
        data: Contents of the file.
        where: Name of the file in messages.

    Raises:
        DataError: Pixels are missing, or a segment grows beyond its size.
    """
    height, width, channels = page.shape
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    rows = min(rows, height) if not page.is_tiled else rows
    count = -(-height // rows) * (-(-width // columns))
    if len(page.dataoffsets) < count or len(page.databytecounts) < count:
        raise DataError(f'{where}: is cut short or damaged (it has {len(page.dataoffsets)} of {count} strips or tiles)')
    for number in range(count):
        start, length = page.dataoffsets[number], page.databytecounts[number]
        lines = rows if page.is_tiled else min(rows, height - number * rows)
        least, most = 2 * columns * channels * lines, 2 * columns * channels * rows
        if start <= 0 or length <= 0 or start + length > len(data):
            raise DataError(f'{where}: is cut short or damaged (strip or tile {number} is not in the file)')
        if page.compression == _NO_COMPRESSION:
            found = length
        elif page.compression in _DEFLATE:
            found = len(zlib.decompressobj().decompress(data[start : start + length], most + 1))
        else:
            continue
        if found < least or (page.compression in _DEFLATE and found > most):
            raise DataError(f'{where}: is damaged (strip or tile {number} has another size than its pixels)')


def _with_alpha(pixels: np.ndarray, kinds: list[int]) -> np.ndarray:
    """Returns RGB, or RGB with unassociated alpha, by the kind of the fourth channel; an unspecified one is dropped."""
    if pixels.shape[2] == 3 or not kinds or kinds[0] not in (_ASSOCIATED, _UNASSOCIATED):
        return pixels[..., :3]
    if kinds[0] == _UNASSOCIATED:
        return pixels
    alpha = pixels[..., 3:].astype(np.int64)
    colors = (pixels[..., :3].astype(np.int64) * 65535 + alpha // 2) // np.maximum(alpha, 1)
    return np.concatenate([colors.clip(0, 65535), alpha], axis=2).astype(np.uint16)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silences the log of tifffile, which reports odd tags to the terminal."""
    logger = logging.getLogger('tifffile')
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was
