"""Our own PNG: every reader reads it, and 16 bits survive a round trip."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dnnlib.errors import DataError
from tests.support.pictures import encoded, hwc, noise_16
from training.data.convert.png import decode_png_16, encode_png
from training.data.png_file import PNG_SIGNATURE

MODES = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))


def filtered_png(filters: list[int], raw: np.ndarray, *, extra: bytes = b'', interlaced: int = 0) -> bytes:
    """Returns a 16-bit PNG with given filtered rows, which may be any bytes.

    Args:
        filters: Filter of each row, [H].
        raw: Filtered bytes, uint8 [H, W, 2C].
        extra: Further chunks.
        interlaced: Field of the header.
    """
    height, width, size = raw.shape
    header = struct.pack('>IIBBBBB', width, height, 16, COLOR_TYPES[size // 2], 0, 0, interlaced)
    rows = b''.join(bytes([kind]) + row.tobytes() for kind, row in zip(filters, raw, strict=True))
    return PNG_SIGNATURE + chunk(b'IHDR', header) + extra + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


@pytest.mark.parametrize('channels', MODES)
def test_pillow_reads_what_is_written(channels):
    for height, width in ((1, 1), (5, 3), (4, 40000)):  # the last fills more than one stored block
        pixels = np.random.RandomState(0).randint(0, 256, [height, width, channels]).astype(np.uint8)
        image = Image.open(io.BytesIO(encode_png(pixels)))
        image.load()
        assert image.mode == MODES[channels]
        assert np.array_equal(hwc(image), pixels)


@pytest.mark.parametrize('channels', MODES)
def test_16_bits_come_back(channels):
    pixels = noise_16(0, 9, 7, channels)
    assert np.array_equal(decode_png_16(encode_png(pixels), 'x'), pixels)


def test_16_bit_grey_is_what_pillow_writes():
    pixels = noise_16(0, 9, 7, 1)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels[..., 0])
    for level in (0, 9):
        data = encoded(Image.fromarray(pixels[..., 0]), compress_level=level)
        assert np.array_equal(decode_png_16(data, 'x'), pixels)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_every_filter_is_undone_as_pillow_undoes_it(height, width, channels, seed):
    """Pillow keeps the high byte of 16-bit colour; filters work on bytes, so that byte shows them all."""
    random = np.random.RandomState(seed)
    raw = random.randint(0, 256, [height, width, 2 * channels]).astype(np.uint8)
    data = filtered_png(random.randint(0, 5, height).tolist(), raw)
    image = Image.open(io.BytesIO(data))
    image = image.convert('LA') if channels == 2 else image  # Pillow opens it as RGBA
    pixels = decode_png_16(data, 'x')
    assert np.array_equal(pixels if channels == 1 else pixels >> 8, hwc(image))


def test_a_transparent_colour_becomes_alpha():
    pixels = noise_16(0, 4, 4, 3)
    pixels[1, 2] = (1, 2, 3)
    raw = pixels.astype('>u2').view(np.uint8)
    decoded = decode_png_16(filtered_png([0] * 4, raw, extra=chunk(b'tRNS', struct.pack('>3H', 1, 2, 3))), 'x')
    assert np.array_equal(decoded[..., :3], pixels)
    assert decoded[1, 2, 3] == 0
    assert (decoded[..., 3] == 65535).sum() == 15


def test_what_cannot_be_read_is_named():
    raw = np.zeros([2, 2, 6], np.uint8)
    with pytest.raises(DataError, match=r'a\.png: is an interlaced PNG of 16 bits'):
        decode_png_16(filtered_png([0, 0], raw, interlaced=1), 'a.png')
    with pytest.raises(DataError, match=r'a\.png: is damaged \(unknown PNG filter 9\)'):
        decode_png_16(filtered_png([0, 9], raw), 'a.png')
    header = struct.pack('>IIBBBBB', 2, 9, 16, 2, 0, 0, 0)
    short = PNG_SIGNATURE + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(26)))
    with pytest.raises(DataError, match=r'a\.png: is cut short or damaged \(too few pixels\)'):
        decode_png_16(short, 'a.png')
