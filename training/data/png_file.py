"""Structure of PNG files: chunks and their CRCs, and the length that the pixels must have.

Pillow checks neither the CRC of the pixels nor their number: it fills missing lines with zeros. The code follows the
PNG specification (W3C, third edition).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from dnnlib.errors import DataError

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # color type to samples per pixel, section 11.2.1
# Adam7, section 8.1: first column and row, and the steps between columns and rows, of each pass.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_STEP_BYTES = 2**16  # bytes that are decompressed at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class PngHeader:
    """The fields of the chunk IHDR."""

    width: int
    height: int
    bits: int  # per sample
    color_type: int
    is_interlaced: bool

    @property
    def data_bytes(self) -> int:
        """Number of bytes of all lines, each with the byte of its filter."""
        pixel_bits = self.bits * _SAMPLES.get(self.color_type, 1)
        if not self.is_interlaced:
            return self.height * (1 + (self.width * pixel_bits + 7) // 8)
        total = 0
        for left, top, step_x, step_y in _PASSES:
            columns = (self.width - left + step_x - 1) // step_x
            rows = (self.height - top + step_y - 1) // step_y
            if columns > 0 and rows > 0:  # a pass without pixels has no lines
                total += rows * (1 + (columns * pixel_bits + 7) // 8)
        return total


def read_header(data: bytes) -> PngHeader:
    """Returns the header of a PNG whose chunks have been checked."""
    width, height, bits, color_type, _, _, interlaced = struct.unpack_from('>IIBBBBB', data, len(PNG_SIGNATURE) + 8)
    return PngHeader(width=width, height=height, bits=bits, color_type=color_type, is_interlaced=bool(interlaced))


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields name and body of every chunk."""
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], 'big')
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def check_chunks(data: bytes, where: str) -> None:
    """Checks the header, and the CRC of every critical chunk up to IEND. Raises DataError."""
    view, at = memoryview(data), len(PNG_SIGNATURE)
    if data[at : at + 8] != b'\0\0\0\rIHDR':
        raise DataError(f'{where}: is damaged (PNG without its header)')
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


def check_lines(data: bytes, where: str) -> None:
    """Raises DataError when the pixels of a PNG end before its last line. Nothing is kept of what is decompressed."""
    expected, found = read_header(data).data_bytes, 0
    stream = zlib.decompressobj()
    packed = b''.join(body for name, body in chunks(data) if name == b'IDAT')
    try:
        for start in range(0, len(packed), _STEP_BYTES):
            piece = packed[start : start + _STEP_BYTES]
            while piece and found < expected and not stream.eof:
                found += len(stream.decompress(piece, _STEP_BYTES))
                piece = stream.unconsumed_tail
        found += len(stream.flush()) if found < expected else 0
    except zlib.error as error:
        raise DataError(f'{where}: is cut short or damaged ({error})') from error
    if found < expected:
        raise DataError(f'{where}: is cut short or damaged (it has {found} of {expected} bytes of pixels)')
