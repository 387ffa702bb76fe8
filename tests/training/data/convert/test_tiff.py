"""TIFFs of 16-bit color: alpha of every kind, and damage that tifffile would fill with zeros."""

import io
import zlib

import numpy as np
import pytest

from dnnlib.errors import DataError
from tests.support.pictures import noise_16
from training.data.convert.decode import decode_picture

tifffile = pytest.importorskip('tifffile', reason='the tiff extra is not installed')


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    """Returns a TIFF of uint16 [H, W, C], of strips of four rows."""
    file = io.BytesIO()
    options = {'photometric': 'rgb', 'rowsperstrip': 4, **options}
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def test_the_fourth_channel_is_what_the_file_says():
    pixels = noise_16(0, channels=4)
    pixels[..., 3] |= 1
    assert np.array_equal(decode_picture(tiff(pixels, extrasamples=[2]), 'x', 16).pixels, pixels)
    assert np.array_equal(decode_picture(tiff(pixels, extrasamples=[0]), 'x', 16).pixels, pixels[..., :3])
    associated = pixels.copy()
    associated[..., :3] = (pixels[..., :3].astype(np.int64) * pixels[..., 3:] + 32767) // 65535
    found = decode_picture(tiff(associated, extrasamples=[1]), 'x', 16).pixels
    solid = pixels[..., 3] > 6553
    assert np.abs(found.astype(int) - pixels)[solid].max() <= 10


@pytest.mark.parametrize('compression', [None, 'zlib'])
@pytest.mark.parametrize('tile', [None, (16, 16)])
def test_whole_files_are_read(compression, tile):
    pixels = noise_16(0, 21, 17)
    data = tiff(pixels, compression=compression, tile=tile)
    assert np.array_equal(decode_picture(data, 'x', 16).pixels, pixels)


@pytest.mark.parametrize('tag', ['StripOffsets', 'StripByteCounts'])
@pytest.mark.parametrize('compression', [None, 'zlib'])
def test_a_strip_that_is_not_in_the_file_is_damage(tag, compression):
    data = bytearray(tiff(noise_16(0), compression=compression))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        at = file.pages.first.tags[tag].valueoffset
        width = 2 if file.pages.first.tags[tag].dtype == 3 else 4
    data[at + width : at + 2 * width] = bytes(width)
    with pytest.raises(DataError, match=r'^a\.tif: is cut short or damaged \(strip or tile 1 is not in the file'):
        decode_picture(bytes(data), 'a.tif', 16)


@pytest.mark.parametrize('share', [0.5, 3])
def test_a_strip_of_another_length_than_its_pixels_is_damage(share):
    data = bytearray(tiff(np.zeros([16, 16, 3], np.uint16) + noise_16(0, 1, 1), compression='zlib'))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        start, length = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    packed = zlib.compress(bytes(int(share * 4 * 16 * 6)), 9)
    assert len(packed) <= length
    data[start : start + len(packed)] = packed
    with pytest.raises(DataError, match='strip or tile 0 has another size than its pixels'):
        decode_picture(bytes(data), 'a.tif', 16)


@pytest.mark.parametrize(
    ('dtype', 'shape', 'options'),
    [
        ('u1', (16, 16, 3), {}),
        ('u1', (3, 16, 16), {'planarconfig': 'separate'}),
        ('u1', (16, 16), {'photometric': 'minisblack'}),
        ('u2', (16, 16), {'photometric': 'minisblack'}),
        ('u1', (16, 16, 3), {'compression': 'zlib'}),
    ],
)
def test_absent_strips_are_damage_for_every_decoder(dtype, shape, options, capfd):
    pixels = np.random.RandomState(0).randint(1, 255, shape).astype(dtype)
    data = bytearray(tiff(pixels, **options))
    decode_picture(bytes(data), 'a.tif', 8)
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tags = [file.pages.first.tags[name] for name in ('StripOffsets', 'StripByteCounts')]
    for tag in tags:  # the second half of the strips is not listed
        data[tag.offset + 4 : tag.offset + 8] = (tag.count // 2).to_bytes(4, 'little')
    with pytest.raises(DataError, match=r'^a\.tif: is cut short or damaged'):
        decode_picture(bytes(data), 'a.tif', 8)
