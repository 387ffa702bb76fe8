"""verify finds every planted defect, by kind and by name, and nothing in a clean data set."""

import functools
import os
import pickle
import zlib

import numpy as np
import pytest
from PIL import Image

from dnnlib.errors import UserError
from tests.support.pictures import encoded, npy, write_folder
from tests.support.verify_data import clean, found, look, picture, unlabelled, words, write_zip
from training.data.dataset import EMBEDDED
from training.data.pool import map_in_order
from training.data.verify import duplicates
from training.data.verify.survey import VerifyOptions, verify_dataset

NOISE = Image.fromarray(np.random.RandomState(0).randint(0, 256, [16, 16, 3]).astype(np.uint8))


def test_a_clean_set_has_no_findings(tmp_path):
    assert look(write_zip(tmp_path / 'a.zip', clean())) == {}
    assert look(write_folder(tmp_path / 'a', clean())) == {}


def test_two_hundred_of_the_embedded_images_have_no_defects():
    report = verify_dataset(str(EMBEDDED), VerifyOptions(max_images=200, workers=0))
    assert report.findings.number('defect') == 0
    assert set(found(report)) <= {'sample', 'near-duplicate'}  # its drawings share their parts
    assert report.sizes == {(64, 64): 200}
    assert report.forms == {(3, 8): 200}
    assert sum(report.labels.counts.values()) == report.num_files == 4096
    assert sum(report.brightness) == 200


# --- the images --------------------------------------------------------------


def png_16_bit_rgb() -> bytes:
    """16x16, 16 bits a channel; Pillow cannot write one."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, 'big') + kind + data + zlib.crc32(kind + data).to_bytes(4, 'big')

    header = b''.join([(16).to_bytes(4, 'big') * 2, bytes([16, 2, 0, 0, 0])])
    rows = zlib.compress(np.random.RandomState(1).bytes(16 * 97).replace(b'\x01', b'\0'))
    filters = bytearray(zlib.decompress(rows))
    filters[:: 1 + 16 * 6] = bytes(16)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(filters)) + chunk(b'IEND', b'')


def flipped_png() -> bytes:
    data = bytearray(encoded(NOISE))
    data[len(data) // 2] ^= 8
    return bytes(data)


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


def test_all_planted_together_are_all_found(tmp_path):
    """Nothing hides behind the first."""
    planted = {
        'cut.png': encoded(NOISE)[:-20],
        'flip.png': flipped_png(),
        'wide.png': encoded(picture(30, (32, 16))),
        'grey.png': encoded(picture(31).convert('L')),
        'palette.png': encoded(picture(32).convert('P')),
        'copy.png': encoded(picture(0), compress_level=1),
        '../out.png': encoded(picture(33)),
        'bomb.png': bytes(2**20),
    }
    assert look(write_zip(tmp_path / 'a.zip', {**clean(), **planted})) == {
        'unsafe-path': ['../out.png'],
        'bomb': ['bomb.png'],
        'truncated': ['cut.png'],
        'damaged': ['flip.png'],
        'palette': ['palette.png'],
        'wrong-size': ['wide.png'],
        'wrong-channels': ['grey.png'],
        'exact-duplicate': ['copy.png'],
        'image-without-label': ['copy.png', 'cut.png', 'flip.png', 'grey.png', 'palette.png', 'wide.png'],
    }


@pytest.mark.parametrize(
    ('size', 'command'),
    [((17, 17), '--resolution=16x16'), ((400, 5), '--resolution=128x8'), ((130, 66), '--resolution=128x64')],
)
def test_size_that_cannot_be_trained_on_comes_with_the_command_that_mends_it(tmp_path, size, command):
    path = write_zip(tmp_path / 'a.zip', {f'{i}.png': encoded(picture(i, size)) for i in range(3)})
    report = verify_dataset(path, VerifyOptions(workers=0))
    assert found(report) == {'untrainable-size': [path]}
    assert f'python dataset_tool.py --source={path} --dest={path[:-4]}-' in words(report, 'untrainable-size')
    assert words(report, 'untrainable-size').endswith(f'{command} --transform=center-crop')


@pytest.mark.parametrize(
    ('files', 'form'),
    [
        ([encoded(picture(i).convert('RGBA')) for i in range(3)], (4, 8)),
        ([encoded(picture(i).convert('LA')) for i in range(3)], (2, 8)),
        ([encoded(picture(i, (24, 16))) for i in range(3)], (3, 8)),
    ],
)
def test_alpha_and_other_shapes_that_all_share_are_no_defects(tmp_path, files, form):
    report = verify_dataset(
        write_zip(tmp_path / 'a.zip', {f'{i}.png': data for i, data in enumerate(files)}), VerifyOptions(workers=0)
    )
    assert found(report) == {}
    assert report.forms == {form: 3}


def test_16_bit_grey_and_arrays_of_many_channels_are_no_defects(tmp_path):
    random = np.random.RandomState(0)
    grey = [encoded(Image.fromarray(random.randint(0, 65536, [16, 16]).astype(np.uint16))) for _ in range(3)]
    report = verify_dataset(
        write_zip(tmp_path / 'a.zip', {f'{i}.png': data for i, data in enumerate(grey)}), VerifyOptions()
    )
    assert (found(report), report.forms) == ({}, {(1, 16): 3})
    arrays = [npy(random.randint(0, 65536, [16, 24, 6]).astype('>u2')) for _ in range(3)]
    report = verify_dataset(
        write_zip(tmp_path / 'b.zip', {f'{i}.npy': data for i, data in enumerate(arrays)}), VerifyOptions()
    )
    assert (found(report), report.forms, report.sizes) == ({}, {(6, 16): 3}, {(16, 24): 3})


def test_statistics_are_those_of_the_pixels(tmp_path):
    images = [picture(i) for i in range(5)]
    report = verify_dataset(
        write_zip(tmp_path / 'a.zip', {f'{i}.png': encoded(im) for i, im in enumerate(images)}),
        VerifyOptions(workers=0),
    )
    pixels = np.stack([np.asarray(image) for image in images]) / 255  # [N, H, W, C]
    np.testing.assert_allclose(report.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(report.std, pixels.std(axis=(0, 1, 2)), rtol=1e-9)


# --- duplicates --------------------------------------------------------------


def test_duplicates_are_grouped_by_kind(tmp_path):
    big = [picture(i, (128, 128)) for i in range(12)]
    files = {f'{i:02d}.png': encoded(image) for i, image in enumerate(big)}
    files['same.png'] = encoded(big[0], compress_level=0)
    files['same.webp'] = encoded(big[0], 'WEBP', lossless=True)
    files['near.jpg'] = encoded(big[1], 'JPEG', quality=85)
    files['flip.png'] = encoded(big[2].transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    path = write_zip(tmp_path / 'a.zip', files)
    report = verify_dataset(path, VerifyOptions(workers=0))
    assert found(report) == {
        'exact-duplicate': ['same.png', 'same.webp'],
        'near-duplicate': ['near.jpg'],
        'flipped-duplicate': ['flip.png'],
    }
    named = [[report.source.name(position) for position in group.positions] for group in report.groups]
    assert named == [['00.png', 'same.png', 'same.webp'], ['01.png', 'near.jpg'], ['02.png', 'flip.png']]
    assert words(report, 'near-duplicate') == 'looks like 01.png'
    assert look(path, duplicates=False) == {}
    assert set(look(path, near=0)) >= {'exact-duplicate', 'flipped-duplicate'}


def test_duplicates_with_different_labels_say_so(tmp_path):
    files = clean()
    files['01.png'] = encoded(picture(0), compress_level=0)
    report = verify_dataset(write_zip(tmp_path / 'a.zip', files), VerifyOptions(workers=0))
    assert words(report, 'exact-duplicate') == 'has the same pixels as 00.png, in class 1 instead of 0'
    files['dataset.json'] = b'{"labels": [["00.png", 0]]}'
    report = verify_dataset(write_zip(tmp_path / 'b.zip', files), VerifyOptions(workers=0))
    assert words(report, 'exact-duplicate') == 'has the same pixels as 00.png'


# --- processes ---------------------------------------------------------------


def test_processes_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, 'MIN_JOBS', 1)
    files = {**clean(40), 'x.png': b'no image', 'y.png': encoded(picture(3))}
    path = write_zip(tmp_path / 'a.zip', files)
    alone, together = (verify_dataset(path, VerifyOptions(workers=workers)) for workers in (0, 2))
    assert found(alone) == found(together)
    assert (alone.mean, alone.std, alone.groups) == (together.mean, together.std, together.groups)


def die(source: object, position: int) -> None:
    os._exit(1)


def test_a_process_that_dies_is_reported(tmp_path):
    source = verify_dataset(write_zip(tmp_path / 'a.zip', clean()), VerifyOptions(workers=0)).source
    with pytest.raises(UserError, match='a worker process died'):
        list(map_in_order(functools.partial(die, source), range(3), 2))
