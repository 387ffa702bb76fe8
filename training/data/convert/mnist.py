"""MNIST, Fashion-MNIST and others in the idx format: `train-images-idx3-ubyte.gz` and a file of labels next to it.

The format: two zero bytes, a type (8: unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit
number, then the elements.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import re
import struct
import zlib
from typing import IO

import numpy as np

from dnnlib.errors import ConfigError, DataError
from dnnlib.regular_file import open_regular
from training.data.convert.source import PixelSource, SourceLabels
from training.data.picture_file import MAX_PIXELS
from training.data.zip_index import MAX_RATIO

FASHION = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot']

_IMAGES = re.compile(r'images([-.])idx3([-.])ubyte(\.gz)?$')
_UNSIGNED_BYTE = 8
_MAX_BYTES = 2**32  # limit for all pictures of a file, which are held in memory


def is_images_file(name: str) -> bool:
    """Whether the name of a file denotes pictures in the idx format."""
    return _IMAGES.search(name.lower()) is not None


class MnistSource(PixelSource):
    """A source of gray pictures. 28x28 is padded with black to 32x32, the next size with enough doublings."""

    def __init__(self, path: str) -> None:
        """Reads all pictures of the file. Raises DataError when it is damaged."""
        pixels = read_idx(path, 3)  # [n, H, W]
        frame = 2 if pixels.shape[1:] == (28, 28) else 0
        pixels = np.pad(pixels, [(0, 0), (frame, frame), (frame, frame)])
        super().__init__(path, pixels[..., np.newaxis])  # [n, H, W, 1]

    def read_labels(self) -> SourceLabels | None:
        path = _labels_file(self.path)
        labels = read_idx(path, 1)
        if len(labels) != len(self):
            raise DataError(f'{path}: holds {len(labels)} labels for the {len(self)} pictures of {self.path}')
        folder = os.path.basename(os.path.dirname(os.path.abspath(self.path))).lower()
        classes = FASHION if 'fashion' in folder and labels.max() < len(FASHION) else None
        return SourceLabels(values=labels.tolist(), classes=classes)


def read_idx(path: str, num_dims: int) -> np.ndarray:
    """Reads a file in the idx format, gzip or not, as uint8 with num_dims dimensions. Raises DataError."""
    try:
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(open_regular(path))
            size = os.fstat(raw.fileno()).st_size
            is_gzip = raw.read(2) == b'\x1f\x8b'
            raw.seek(0)
            file: IO[bytes] | gzip.GzipFile = stack.enter_context(gzip.GzipFile(fileobj=raw)) if is_gzip else raw
            header = file.read(4 + 4 * num_dims)
            if header[:4] != bytes([0, 0, _UNSIGNED_BYTE, num_dims]) or len(header) != 4 + 4 * num_dims:
                raise DataError(f'{path}: is not an idx file of unsigned bytes with {num_dims} dimensions')
            shape = struct.unpack(f'>{num_dims}I', header[4:])
            count = math.prod(shape)
            if count > min(_MAX_BYTES, size * (MAX_RATIO if is_gzip else 1)):
                raise DataError(f'{path}: claims the shape {list(shape)}, which its {size} bytes cannot hold')
            if math.prod(shape[1:]) == 0 or math.prod(shape[1:]) > MAX_PIXELS:
                raise DataError(
                    f'{path}: claims pictures of {shape[-1]}x{shape[1]}; they need 1 to {MAX_PIXELS:,} pixels'
                )
            data = file.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f'{path}: cannot be read ({error}); download it again') from error
    if len(data) != count:
        raise DataError(f'{path}: does not hold the {count} bytes that its header says; download it again')
    return np.frombuffer(data, np.uint8).reshape(shape)


def _labels_file(path: str) -> str:
    """Returns the path of the labels of a file of pictures; each of the two may be compressed or not."""
    folder, name = os.path.split(path)
    stem = re.sub(_IMAGES, r'labels\1idx1\2ubyte', name)
    for candidate in (stem, f'{stem}.gz'):
        if os.path.exists(os.path.join(folder, candidate)):
            return os.path.join(folder, candidate)
    raise ConfigError(f'{path}: there is no {stem}(.gz) next to it; add it, or give --labels=none')
