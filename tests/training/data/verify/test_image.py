"""Faults of single images: each is found by its kind and name."""

import pickle
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import encoded, npy, write_folder
from tests.support.verify_data import NOISE, flipped_png, found, look, picture, unlabelled, words, write_zip
from training.data.verify.survey import VerifyOptions, verify_dataset


def png_16_bit_rgb() -> bytes:
    """Returns a 16x16 PNG of 16 bits per channel, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, 'big') + kind + data + zlib.crc32(kind + data).to_bytes(4, 'big')

    header = b''.join([(16).to_bytes(4, 'big') * 2, bytes([16, 2, 0, 0, 0])])
    rows = zlib.compress(np.random.RandomState(1).bytes(16 * 97).replace(b'\x01', b'\0'))
    filters = bytearray(zlib.decompress(rows))
    filters[:: 1 + 16 * 6] = bytes(16)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(filters)) + chunk(b'IEND', b'')


def animation(kind: str) -> bytes:
    return encoded(picture(20), kind, save_all=True, append_images=[picture(21), picture(22)])


def claims_too_much() -> bytes:
    data = bytearray(encoded(NOISE))
    data[16:24] = (8192).to_bytes(4, 'big') + (8193).to_bytes(4, 'big')
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, 'big')
    return bytes(data)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(30), 'JPEG', exif=exif)


@pytest.mark.parametrize(
    ('kind', 'name', 'data'),
    [
        ('truncated', 'x.png', encoded(NOISE)[:-20]),
        ('truncated', 'x.png', encoded(NOISE)[:20]),
        ('truncated', 'x.jpg', encoded(NOISE, 'JPEG')[:-40]),
        ('truncated', 'x.webp', encoded(NOISE, 'WEBP')[:-40]),
        ('damaged', 'x.png', flipped_png()),
        ('not-an-image', 'x.png', b''),
        ('not-an-image', 'x.png', b'hello'),
        ('not-an-image', 'x.png', b'GIF89a' + bytes(100)),
        ('too-many-pixels', 'x.png', claims_too_much()),
        ('animation', 'x.png', animation('PNG')),
        ('animation', 'x.webp', animation('WEBP')),
        ('palette', 'x.png', encoded(NOISE.convert('P'))),
        ('colour-mode', 'x.png', encoded(NOISE.convert('1'))),
        ('colour-mode', 'x.jpg', encoded(NOISE.convert('CMYK'), 'JPEG')),
        ('transparent-colour', 'x.png', encoded(NOISE, transparency=(1, 2, 3))),
        ('16-bit-colour', 'x.png', png_16_bit_rgb()),
        ('wrong-size', 'x.png', encoded(picture(30, (32, 16)))),
        ('wrong-channels', 'x.png', encoded(NOISE.convert('L'))),
        ('wrong-channels', 'x.png', encoded(NOISE.convert('RGBA'))),
        ('wrong-bits', 'x.npy', npy(np.random.RandomState(0).randint(0, 65536, [16, 16, 3]).astype(np.uint16))),
        ('array', 'x.npy', b'hello'),
        ('array', 'x.npy', npy(np.zeros([16, 16, 3], np.float32))),
        ('array', 'x.npy', npy(np.zeros([3], np.uint8))),
        ('truncated', 'x.npy', npy(np.zeros([16, 16, 3], np.uint8))[:-1]),
        ('too-many-pixels', 'x.npy', npy(np.zeros([1, 1, 3], np.uint8)).replace(b'(1, 1, 3)', b'(999999, 99999, 3)')),
        ('flat', 'x.png', encoded(Image.new('RGB', (16, 16), 'red'))),
        ('rotated', 'x.jpg', rotated()),
    ],
)
def test_planted_image_is_found_by_name_and_kind(tmp_path, kind, name, data):
    assert look(write_zip(tmp_path / 'a.zip', unlabelled({name: data}))) == {kind: [name]}
    assert kind in look(write_folder(tmp_path / 'a', unlabelled({name: data})))


def test_an_array_of_objects_is_refused_unread(tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ('a pickle was executed',)

    array = np.empty([1, 1], dtype=object)
    array[0, 0] = Bomb()
    header = npy(np.zeros([1, 1], np.uint8)).replace(b"'|u1',", b"'|O', ")[:-1]
    report = verify_dataset(
        write_zip(tmp_path / 'a.zip', unlabelled({'x.npy': header + pickle.dumps(array)})), VerifyOptions()
    )
    assert found(report) == {'array': ['x.npy']}
    assert words(report, 'array') == 'holds object; expected uint8 or uint16'
