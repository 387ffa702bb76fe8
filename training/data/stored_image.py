"""One image file of a data set: its layout, read from the header, and its pixels.

Letters: C image channels, H and W image height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dnnlib.errors import DataError
from training.data import array_file, picture_file

STORED_EXTENSIONS = (*picture_file.PICTURE_EXTENSIONS, array_file.ARRAY_EXTENSION)

CHANNEL_KINDS = {1: 'gray', 2: 'gray with alpha', 3: 'RGB', 4: 'RGBA'}
# Pillow's mode to channels; 16-bit gray pictures have one of several modes.
_BANDS = {'L': 1, 'LA': 2, 'RGB': 3, 'RGBA': 4}
_NEEDS = (
    'training needs 8-bit RGB or gray, with or without alpha, 16-bit gray, or .npy arrays of uint8 or uint16 '
    '[height, width, channels]'
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The properties that all images of a data set share."""

    height: int  # pixels
    width: int  # pixels
    channels: int
    bits: int  # per channel, 8 or 16

    @property
    def size(self) -> str:
        """The size for messages: '96x64', width first, as in options."""
        return f'{self.width}x{self.height}'

    @property
    def kind(self) -> str:
        """The kind of channels for messages: 'RGB', '16-bit gray', '6 channels'."""
        kind = CHANNEL_KINDS.get(self.channels, f'{self.channels} channels')
        return kind if self.bits == 8 else f'16-bit {kind}'


class StoredImage(Protocol):
    """A file whose header has been read."""

    layout: Layout

    def decode(self, factor: int = 1) -> np.ndarray:
        """Returns uint8 or uint16 [C, H / factor, W / factor]: each pixel is the mean of a block, rounded, per channel.

        The mean of the colors is not weighted by alpha, as it would be in a picture editor: a network learns the
        planes, and four planes may be something else than RGBA. Raises DataError for visible damage.
        """
        ...


class StoredPicture:
    """A PNG, JPEG or WebP file."""

    def __init__(self, data: bytes, where: str, way_out: str) -> None:
        """Reads the header; the arguments are those of `open_stored`."""
        self._image = picture_file.open_image(data, where)
        self._data, self._where = data, where
        fault = picture_file.storage_fault(self._image, data)
        if fault:
            raise DataError(f'{where}: has {fault}; {_NEEDS}. Try: {way_out}')
        width, height = self._image.size
        bits = 16 if picture_file.is_16_bit(self._image, data) else 8
        self.layout = Layout(height, width, _BANDS.get(self._image.mode, 1), bits)

    def decode(self, factor: int = 1) -> np.ndarray:
        """Decodes the pixels, see `StoredImage.decode`."""
        picture_file.load_image(self._image, self._data, self._where)
        if factor > 1 and self._image.mode in ('L', 'RGB'):  # several times faster than `box_mean`, same result
            return picture_file.to_array(self._image.reduce(factor))
        return box_mean(picture_file.to_array(self._image), factor)


class StoredArray:
    """A .npy file. It has no checksum: damage to its pixels is noticed in a zip, which has one, not in a folder."""

    def __init__(self, data: bytes, where: str) -> None:
        self._header = array_file.read_header(data, where)
        self._data = data
        header = self._header
        self.layout = Layout(header.height, header.width, header.channels, 8 * header.dtype.itemsize)

    def decode(self, factor: int = 1) -> np.ndarray:
        """Decodes the pixels, see `StoredImage.decode`."""
        return box_mean(array_file.read_pixels(self._header, self._data), factor)


def open_stored(data: bytes, name: str, where: str, way_out: str) -> StoredImage:
    """Reads the header of an image file.

    Args:
        data: Contents of the file.
        name: Path of the file, whose extension decides the kind.
        where: Name of the file in messages.
        way_out: Command that makes a usable data set, for messages.

    Raises:
        DataError: The file is not an image, or its kind cannot be trained on.
    """
    if name.lower().endswith(array_file.ARRAY_EXTENSION):
        return StoredArray(data, where)
    return StoredPicture(data, where, way_out)


def box_mean(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Averages factor x factor blocks, halves rounded up: uint8 or uint16 [C, H, W] -> [C, H / f, W / f]."""
    if factor == 1:
        return pixels
    c, h, w = pixels.shape
    blocks = pixels.reshape(c, h // factor, factor, w // factor, factor)
    total: np.ndarray = blocks.sum(axis=(2, 4), dtype=np.uint64)  # [C, H / f, W / f]
    return ((total + factor**2 // 2) // factor**2).astype(pixels.dtype)


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Converts uint16 of any shape to uint8, v 255 / 65535 rounded; uint8 is returned unchanged."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 / 255 = 257 is odd: there are no halves
