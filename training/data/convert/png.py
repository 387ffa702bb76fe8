"""PNG for data sets: written without compression, and read with 16 bits per channel.

Pillow has neither: the bytes that it writes depend on the version of zlib, and it keeps only the high byte of 16-bit
color. The code follows the PNG specification (W3C, third edition), RFC 1950 and RFC 1951.

Letters: H and W height and width, C channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from dnnlib.errors import DataError
from training.data.png_file import PNG_SIGNATURE, chunks, read_header

_COLOR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # number of channels to the code in the header
_CHANNELS = {kind: channels for channels, kind in _COLOR_TYPE.items()}
_BLOCK_BYTES = 65535  # limit of one stored block
_PAETH = 4  # number of the last of the five filters: none, sub, up, average, Paeth


def encode_png(pixels: np.ndarray) -> bytes:
    """Encodes uint8 or uint16 [H, W, C], C from 1 to 4, as PNG: no filter, no compression, equal bytes everywhere."""
    height, width, channels = pixels.shape
    depth = 8 * pixels.dtype.itemsize
    lines = pixels.astype(pixels.dtype.newbyteorder('>')).reshape(height, -1).view(np.uint8)
    rows = np.zeros([height, 1 + lines.shape[1]], dtype=np.uint8)  # byte 0 is the number of the row's filter
    rows[:, 1:] = lines
    header = struct.pack('>IIBBBBB', width, height, depth, _COLOR_TYPE[channels], 0, 0, 0)
    return PNG_SIGNATURE + _chunk(b'IHDR', header) + _chunk(b'IDAT', _stored(rows.tobytes())) + _chunk(b'IEND', b'')


def decode_png_16(data: bytes, where: str) -> np.ndarray:
    """Decodes a 16-bit PNG to uint16 [H, W, C]; a transparent color becomes an alpha channel.

    The chunks of `data` must have been checked by `png_file.check_chunks`. Raises DataError for an interlaced file.
    """
    header = read_header(data)
    width, height, kind = header.width, header.height, header.color_type
    if header.is_interlaced:
        raise DataError(f'{where}: is an interlaced PNG of 16 bits per channel; save it without interlacing')
    parts = list(chunks(data))
    channels = _CHANNELS[kind]
    row_bytes = 1 + 2 * channels * width
    packed = b''.join(body for name, body in parts if name == b'IDAT')
    try:
        lines = zlib.decompressobj().decompress(packed, height * row_bytes)
    except zlib.error as error:
        raise DataError(f'{where}: is cut short or damaged ({error})') from error
    if len(lines) < height * row_bytes:
        raise DataError(f'{where}: is cut short or damaged (too few pixels)')
    rows = np.frombuffer(lines, np.uint8).reshape(height, row_bytes)
    if rows[:, 0].max() > _PAETH:
        raise DataError(f'{where}: is damaged (unknown PNG filter {rows[:, 0].max()})')
    pixels = _unfilter(rows[:, 0], rows[:, 1:].reshape(height, width, 2 * channels))  # [H, W, 2C]
    pixels = pixels.view('>u2').astype(np.uint16)  # [H, W, C]
    key = next((body for name, body in parts if name == b'tRNS'), None)
    return pixels if key is None or channels not in (1, 3) else _with_alpha(pixels, key)


def _chunk(name: bytes, body: bytes) -> bytes:
    """Returns one chunk with its length and CRC."""
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))


def _stored(data: bytes) -> bytes:
    """Returns a zlib stream of the uncompressed data, RFC 1951 section 3.2.4."""
    parts = [b'\x78\x01']  # RFC 1950: deflate, 32 kB window, fastest
    for start in range(0, len(data), _BLOCK_BYTES):
        block = data[start : start + _BLOCK_BYTES]
        last = start + _BLOCK_BYTES >= len(data)
        parts += [struct.pack('<BHH', last, len(block), len(block) ^ 0xFFFF), block]
    return b''.join([*parts, struct.pack('>I', zlib.adler32(data))])


def _unfilter(filters: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Reverses the five filters, section 9.2: uint8 [H, W, B] with B bytes per pixel, by the filters of rows uint8 [H].

    A pixel depends on those to the left, above, and above left. All pixels of one anti-diagonal are therefore computed
    at once: H + W steps of NumPy operations instead of H * W steps of Python.
    """
    if not filters.any():
        return raw
    height, width, size = raw.shape
    framed = np.zeros([height + 1, width + 1, size], np.uint8)  # row 0 and column 0 are the zeros beyond the edge
    framed[1:, 1:] = raw
    flat = framed.reshape(-1, size)  # pixel (y, x) is at y * (W + 1) + x, so along y + x = d at y * W + d
    for d in range(2, height + width + 1):
        top, bottom = max(1, d - width), min(height, d - 1)
        begin, end = top * width + d, bottom * width + d + 1
        left, above, corner = (flat[begin - n : end - n : width].astype(np.int16) for n in (1, width + 1, width + 2))
        mean = (left + above) >> 1
        predicted = np.choose(
            filters[top - 1 : bottom, np.newaxis], [0, left, above, mean, _paeth(left, above, corner)]
        )
        flat[begin:end:width] += predicted.astype(np.uint8)  # modulo 256
    return np.ascontiguousarray(framed[1:, 1:])


def _paeth(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Returns the nearest of left, above and corner to a + b - c; ties in that order. Section 9.4.

    Args:
        a: Values to the left, int16 [m, B].
        b: Values above, int16 [m, B].
        c: Values above left, int16 [m, B].
    """
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return np.where((pa <= pb) & (pa <= pc), a, np.where(pb <= pc, b, c))


def _with_alpha(pixels: np.ndarray, key: bytes) -> np.ndarray:
    """Adds an alpha channel, uint16 [H, W, C + 1]: 0 for pixels of the color in the tRNS chunk."""
    color = np.frombuffer(key[: 2 * pixels.shape[2]], '>u2')  # [C]
    opaque = (pixels != color).any(axis=2, keepdims=True)
    return np.concatenate([pixels, np.where(opaque, 65535, 0).astype(np.uint16)], axis=2)
