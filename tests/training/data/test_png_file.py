"""Structure of PNG files: missing lines are damage, however the PNG stores its pixels."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dnnlib.errors import DataError
from tests.support.pictures import encoded, noise
from training.data import png_file
from training.data.convert.decode import decode_picture
from training.data.picture_file import load_image, open_image
from training.data.png_file import PNG_SIGNATURE, read_header
from training.data.verify.image import ImageFault, decode_image

SIDE = 19
# Color type and bits of the header, and the bits of one pixel.
KINDS = {
    'bits': (0, 1, 1),
    'gray': (0, 8, 8),
    'gray 16': (0, 16, 16),
    'palette': (3, 4, 4),
    'gray with alpha': (4, 8, 16),
    'RGB': (2, 8, 24),
    'RGB 16': (2, 16, 48),
    'RGBA': (6, 8, 32),
    'RGBA 16': (6, 16, 64),
}


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))


def png_of(kind: str, interlaced: bool, share: float = 1.0, value: int = 0x55) -> bytes:
    """Returns a PNG of one color.

    Args:
        kind: Key of KINDS.
        interlaced: Whether its pixels are stored in seven passes.
        share: Share of its lines that it holds.
        value: Byte that all pixels consist of.
    """
    color_type, bits, pixel_bits = KINDS[kind]
    if interlaced:
        passes = [(-(-(SIDE - x) // dx), -(-(SIDE - y) // dy)) for x, y, dx, dy in png_file._PASSES]
    else:
        passes = [(SIDE, SIDE)]
    lines = [b'\0' + bytes([value]) * -(-columns * pixel_bits // 8) for columns, rows in passes for _ in range(rows)]
    body = zlib.compress(b''.join(lines[: round(share * len(lines))]))
    header = struct.pack('>IIBBBBB', SIDE, SIDE, bits, color_type, 0, 0, int(interlaced))
    palette = chunk(b'PLTE', bytes(range(48))) if color_type == 3 else b''
    return PNG_SIGNATURE + chunk(b'IHDR', header) + palette + chunk(b'IDAT', body) + chunk(b'IEND', b'')


@pytest.mark.parametrize('interlaced', [False, True])
@pytest.mark.parametrize('kind', KINDS)
def test_missing_lines_are_damage_for_training_conversion_and_verify(kind, interlaced):
    for share in (0.0, 0.5, 0.97):
        data = png_of(kind, interlaced, share)
        with pytest.raises(DataError, match=r'^a\.png: is cut short or damaged'):
            load_image(open_image(data, 'a.png'), data, 'a.png')
        with pytest.raises(DataError, match=r'^a\.png: is (cut short or damaged|an interlaced PNG of 16 bits)'):
            decode_picture(data, 'a.png', 8)
        with pytest.raises(ImageFault, match='damaged'):
            decode_image(data, 'a.png')


@pytest.mark.parametrize('interlaced', [False, True])
@pytest.mark.parametrize('kind', KINDS)
def test_whole_pngs_are_read_also_where_they_are_black(kind, interlaced):
    for value in (0x55, 0):
        data = png_of(kind, interlaced, value=value)
        load_image(open_image(data, 'a.png'), data, 'a.png')
        if '16' not in kind or not interlaced:
            assert decode_picture(data, 'a.png', 8).pixels.shape[:2] == (SIDE, SIDE)
        assert decode_image(data, 'a.png').array.shape[:2] == (SIDE, SIDE)


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'LA', 'RGB', 'RGBA', 'I;16'])
def test_the_expected_length_is_that_of_files_that_pillow_writes(mode):
    for width, height in ((1, 1), (1, 9), (7, 2), (33, 5)):
        image = Image.fromarray(np.zeros([height, width], np.uint16)) if mode == 'I;16' else noise(0, width, height)
        data = encoded(image if mode == 'I;16' else image.convert(mode))
        packed = b''.join(body for name, body in png_file.chunks(data) if name == b'IDAT')
        assert read_header(data).data_bytes == len(zlib.decompress(packed))


def test_a_file_that_begins_without_a_header_is_damaged():
    with pytest.raises(DataError, match='PNG without its header'):
        png_file.check_chunks(PNG_SIGNATURE + chunk(b'IDAT', b'') + chunk(b'IEND', b''), 'a.png')
