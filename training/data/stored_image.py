"""One file of a data set: what it holds, known from its header, and its pixels.

Letters: C image channels, H and W image height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dnnlib.errors import DataError
from training.data import array_file, picture_file

STORED_EXTENSIONS = (*picture_file.PICTURE_EXTENSIONS, array_file.ARRAY_EXTENSION)

CHANNEL_KINDS = {1: 'grey', 2: 'grey with alpha', 3: 'RGB', 4: 'RGBA'}
_BANDS = {'L': 1, 'LA': 2, 'RGB': 3, 'RGBA': 4}  # of a Pillow mode; a grey picture of 16 bits has several
_NEEDS = (
    'training needs 8-bit RGB or grey, with or without alpha, 16-bit grey, or .npy arrays of uint8 or uint16 '
    '[height, width, channels]'
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What all images of a data set share. height, width: pixels. bits: of a channel, 8 or 16."""

    height: int
    width: int
    channels: int
    bits: int

    @property
    def size(self) -> str:
        """'96x64', width first, as options have it."""
        return f'{self.width}x{self.height}'

    @property
    def kind(self) -> str:
        """'RGB', '16-bit grey', '6 channels'."""
        kind = CHANNEL_KINDS.get(self.channels, f'{self.channels} channels')
        return kind if self.bits == 8 else f'16-bit {kind}'


class StoredImage(Protocol):
    """A file whose header has been read."""

    layout: Layout

    def decode(self, factor: int = 1) -> np.ndarray:
        """uint8 or uint16 [C, H / factor, W / factor], each pixel the mean of a block, rounded, channel by channel.

        Alpha does not weigh the mean of the colours, as it would in a picture editor: the planes are what a network
        learns, and four may be something other than RGBA. Raises DataError for damage that shows.
        """
        ...


class StoredPicture:
    """A PNG, JPEG or WebP file."""

    def __init__(self, data: bytes, where: str, way_out: str) -> None:
        self._image = picture_file.open_image(data, where)
        self._data, self._where = data, where
        fault = picture_file.storage_fault(self._image, data)
        if fault:
            raise DataError(f'{where}: has {fault}; {_NEEDS}. Try: {way_out}')
        width, height = self._image.size
        bits = 16 if picture_file.is_16_bit(self._image, data) else 8
        self.layout = Layout(height, width, _BANDS.get(self._image.mode, 1), bits)

    def decode(self, factor: int = 1) -> np.ndarray:
        """See StoredImage."""
        picture_file.load_image(self._image, self._data, self._where)
        if factor > 1 and self._image.mode in ('L', 'RGB'):  # several times faster than `box_mean`, the same numbers
            return picture_file.to_array(self._image.reduce(factor))
        return box_mean(picture_file.to_array(self._image), factor)


class StoredArray:
    """A .npy file. It has no checksum: in a folder, damage to its pixels does not show; in a zip, the zip's does."""

    def __init__(self, data: bytes, where: str) -> None:
        self._header = array_file.read_header(data, where)
        self._data = data
        header = self._header
        self.layout = Layout(header.height, header.width, header.channels, 8 * header.dtype.itemsize)

    def decode(self, factor: int = 1) -> np.ndarray:
        """See StoredImage."""
        return box_mean(array_file.read_pixels(self._header, self._data), factor)


def open_stored(data: bytes, name: str, where: str, way_out: str) -> StoredImage:
    """Reads the header of an image file.

    name: decides by its ending which kind it is. where: the file as messages name it. way_out: the command that makes
    a usable data set, for messages. Raises DataError for what is no image, or one that cannot be trained on.
    """
    if name.lower().endswith(array_file.ARRAY_EXTENSION):
        return StoredArray(data, where)
    return StoredPicture(data, where, way_out)


def box_mean(pixels: np.ndarray, factor: int) -> np.ndarray:
    """The mean of each factor x factor block, halves upwards: uint8 or uint16 [C, H, W] -> [C, H / f, W / f]."""
    if factor == 1:
        return pixels
    c, h, w = pixels.shape
    blocks = pixels.reshape(c, h // factor, factor, w // factor, factor)
    total: np.ndarray = blocks.sum(axis=(2, 4), dtype=np.uint64)  # [C, H / f, W / f]
    return ((total + factor**2 // 2) // factor**2).astype(pixels.dtype)


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """uint16 as uint8, v 255 / 65535 rounded, any shape; uint8 as it is."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 / 255 = 257, odd: there are no halves
