"""Data sets of every kind that can be stored: channels, bits and file formats."""

from __future__ import annotations

import io
import pathlib

import numpy as np
from PIL import Image

from tests.support.pictures import write_zip

# Shape [C, H, W], bits per channel, file format.
KINDS = [
    ((1, 16, 16), 8, 'png'),
    ((2, 16, 16), 8, 'png'),
    ((4, 16, 16), 8, 'png'),
    ((4, 16, 24), 8, 'webp'),
    ((3, 24, 16), 8, 'png'),
    ((1, 16, 24), 16, 'png'),
    ((3, 20, 12), 16, 'npy'),
    ((1, 16, 16), 8, 'npy'),
    ((6, 16, 24), 16, 'npy'),
    ((5, 16, 16), 8, 'npy'),
]


def noise(seed: int, shape: tuple[int, ...], bits: int) -> np.ndarray:
    """Returns noise, uint8 or uint16 [C, H, W].

    Args:
        seed: Seed of the noise.
        shape: [C, H, W].
        bits: Bits per channel, 8 or 16.
    """
    return np.random.RandomState(seed).randint(0, 2**bits, shape).astype(f'u{bits // 8}')


def encode(pixels: np.ndarray, kind: str) -> bytes:
    """Returns pixels [C, H, W] as a file of this format."""
    buffer = io.BytesIO()
    if kind == 'npy':
        np.save(buffer, pixels.transpose(1, 2, 0))
    else:
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        image.save(buffer, format=kind, **({'lossless': True, 'exact': True} if kind == 'webp' else {}))
    return buffer.getvalue()


def make_set(path: pathlib.Path, shape: tuple[int, ...], bits: int = 8, kind: str = 'png', n: int = 3) -> str:
    """Writes a zip of noise and returns its path.

    Args:
        path: The zip.
        shape: [C, H, W].
        bits: Bits per channel, 8 or 16.
        kind: File format.
        n: Number of images.
    """
    return write_zip(path, {f'{i}.{kind}': encode(noise(i, shape, bits), kind) for i in range(n)})
