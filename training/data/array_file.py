"""Images that no picture format holds: `.npy` arrays of 16-bit color, or of more than four planes.

The header is checked against the file size before allocating, and no object is ever unpickled.

Letters: C image channels, H and W image height and width.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import IO

import numpy as np

from dnnlib.errors import DataError
from training.data.picture_file import MAX_PIXELS, TOO_MANY_PIXELS, TooManyPixelsError

ARRAY_EXTENSION = '.npy'
SIGNATURE = b'\x93NUMPY'


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayHeader:
    """The header of an array file."""

    height: int
    width: int
    channels: int
    dtype: np.dtype  # uint8, or uint16 of either byte order
    fortran: bool  # order of the pixels: the first axis runs fastest
    start: int  # offset of the pixels in bytes


def read_header(data: bytes, where: str) -> ArrayHeader:
    """Reads the header of an array [H, W, C], or [H, W] of one channel, in NumPy's format 1.0 or 2.0.

    `where` is the name of the file in messages. Raises DataError for any other array, for more than MAX_PIXELS pixels,
    and for a file whose length does not match its header.
    """
    shape, fortran, dtype, start = _parse(data, where)
    if dtype.hasobject or dtype.kind != 'u' or dtype.itemsize > 2:
        raise DataError(f'{where}: holds {dtype}; expected uint8 or uint16')
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise DataError(f'{where}: has the shape {list(shape)}; expected [height, width, channels]')
    height, width, channels = *shape[:2], shape[2] if len(shape) == 3 else 1
    if height * width > MAX_PIXELS:
        raise TooManyPixelsError(f'{where}: is {width}x{height}; {TOO_MANY_PIXELS}; make it smaller first')
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise DataError(f'{where}: is cut short or damaged ({len(data)} bytes; its header promises {expected})')
    return ArrayHeader(height=height, width=width, channels=channels, dtype=dtype, fortran=fortran, start=start)


def read_pixels(header: ArrayHeader, data: bytes) -> np.ndarray:
    """Returns the pixels behind the header that `read_header(data)` returned: uint8 or uint16 [C, H, W], contiguous."""
    shape = header.height, header.width, header.channels
    pixels = np.frombuffer(data, header.dtype, offset=header.start)
    pixels = pixels.reshape(shape, order='F' if header.fortran else 'C').transpose(2, 0, 1)  # [C, H, W]
    return pixels.astype(header.dtype.newbyteorder('='), order='C')


def _parse(data: bytes, where: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Returns shape, Fortran order, dtype and the offset of the pixels."""
    if not data.startswith(SIGNATURE):
        state = 'is empty' if not data else 'is not a NumPy array (.npy), or its header is damaged'
        raise DataError(f'{where}: {state}')
    file = io.BytesIO(data)
    try:
        shape, fortran, dtype = parse_header(file)
    except ValueError as error:
        raise DataError(f'{where}: cannot be read as a NumPy array ({error})') from error
    return shape, fortran, dtype, file.tell()


def parse_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Reads a file in NumPy's format 1.0 or 2.0 up to its data. Returns shape, Fortran order and dtype.

    Raises ValueError for another format and for a broken header.
    """
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f'format {version[0]}.{version[1]}')
        shape, fortran, dtype = readers[version](file)
    except Exception as error:  # a broken header can make its parser raise anything
        raise ValueError(str(error)) from error
    return shape, fortran, dtype
