"""Image files: unusable modes, false headers and damage are one clear line."""

import zlib

import numpy as np
import pytest
from PIL import Image

from dnnlib.errors import DataError
from tests.support.pictures import data_refusal, encoded, png, write_zip
from training.data.dataset import DataConfig, ImageDataset
from training.data.picture_file import load_image, open_image


def png_16_bit_rgb() -> bytes:
    """Returns an 8x8 PNG of 16 bits per channel, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, 'big') + kind + data + zlib.crc32(kind + data).to_bytes(4, 'big')

    header = b''.join([(8).to_bytes(4, 'big') * 2, bytes([16, 2, 0, 0, 0])])
    rows = zlib.compress(bytes(8 * (1 + 8 * 6)))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', rows) + chunk(b'IEND', b'')


@pytest.mark.parametrize(
    ('data', 'what'),
    [
        (png(mode='P'), 'a color palette (mode P)'),
        (png(transparency=(1, 2, 3)), 'a transparent color (mode RGB)'),
        (png(mode='L', transparency=3), 'a transparent color (mode L)'),
        (png(mode='1'), 'color mode 1'),
        (encoded(Image.new('CMYK', (8, 8)), 'JPEG'), 'color mode CMYK'),
        (png_16_bit_rgb(), 'several channels of 16 bits'),
    ],
)
def test_picture_of_a_mode_that_cannot_be_trained_on(tmp_path, data, what):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'b.png': data})
    message = data_refusal(DataError, path, 1)
    assert f'b.png: has {what}; training needs 8-bit RGB or gray' in message
    assert f'python dataset_tool.py --source={path} --dest={path[:-4]}-rgb.zip' in message
    assert 'has' in data_refusal(DataError, write_zip(tmp_path / 'first.zip', {'a.png': data}))


def test_animation(tmp_path):
    frames = [Image.new('RGB', (8, 8), color) for color in ('red', 'blue')]
    for kind in ('png', 'webp'):
        frames[0].save(tmp_path / f'a.{kind}', save_all=True, append_images=frames[1:])
        path = write_zip(tmp_path / f'{kind}.zip', {f'a.{kind}': (tmp_path / f'a.{kind}').read_bytes()})
        assert f'a.{kind}: is an animation of 2 frames' in data_refusal(DataError, path)


@pytest.mark.parametrize(
    ('size', 'message'),
    [
        ((8192, 8193), 'a.png: is 8192x8193; images of more than 67,108,864 pixels are refused'),
        ((60000, 60000), 'a.png: images of more than 67,108,864 pixels are refused; make it smaller first'),
    ],
)
def test_header_that_claims_too_many_pixels(tmp_path, size, message):
    data = bytearray(png())
    data[16:24] = size[0].to_bytes(4, 'big') + size[1].to_bytes(4, 'big')
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, 'big')
    path = write_zip(tmp_path / 'a.zip', {'a.png': bytes(data)})
    assert message in data_refusal(DataError, path)


@pytest.mark.parametrize('data', [b'', b'hello', b'GIF89a' + bytes(100), b'%!PS-Adobe-3.0 EPSF-3.0\n'])
def test_file_that_is_no_image(tmp_path, data):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'b.png': data})
    expected = 'b.png: is not a PNG, JPEG or WEBP image' if data else 'b.png: is empty'
    assert expected in data_refusal(DataError, path, 1)


def test_every_truncated_png_in_a_folder_is_noticed(tmp_path):
    data = png((16, 16))
    (tmp_path / 'a.png').write_bytes(data)
    dataset = ImageDataset(DataConfig(path=str(tmp_path)))
    for length in range(len(data)):
        (tmp_path / 'a.png').write_bytes(data[:length])
        with pytest.raises(DataError, match=r'a\.png'):
            dataset.image(0)


def test_every_flipped_bit_in_a_png_in_a_folder_is_noticed(tmp_path):
    data = png((8, 8))
    (tmp_path / 'a.png').write_bytes(data)
    dataset = ImageDataset(DataConfig(path=str(tmp_path)))
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / 'a.png').write_bytes(flipped)
        with pytest.raises(DataError, match=r'a\.png'):
            dataset.image(0)


def test_truncated_jpeg_and_webp_in_a_folder_are_noticed(tmp_path):
    noise = Image.fromarray(np.random.RandomState(0).randint(0, 256, [16, 16, 3]).astype(np.uint8))
    for kind in ('JPEG', 'WEBP'):
        data = encoded(noise, kind)
        for length in range(0, len(data) - 2, 7):
            with pytest.raises(DataError, match='somewhere'):
                load_image(open_image(data[:length], 'somewhere'), data[:length], 'somewhere')
