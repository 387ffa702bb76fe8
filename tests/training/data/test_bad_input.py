"""Every bad data set is one clear line: the file, or the option, what was expected, the way out."""

import io
import json
import os
import pathlib
import pickle
import stat
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dnnlib.errors import ConfigError, DataError, UserError
from tests.support.pictures import encoded, write_zip
from training.data.dataset import DataConfig, ImageDataset
from training.data.labels import parse_labels
from training.data.picture_file import load_image, open_image
from training.data.source import open_source


def png(size: tuple[int, int] = (8, 8), mode: str = 'RGB', **options: object) -> bytes:
    """A PNG of noise, as 8-bit modes need it."""
    noise = np.random.RandomState(0).randint(0, 256, [size[1], size[0], 3]).astype(np.uint8)
    image = Image.fromarray(noise)
    buffer = io.BytesIO()
    (image if mode == 'RGB' else image.convert(mode)).save(buffer, format='PNG', **options)
    return buffer.getvalue()


def refusal(kind: type[UserError], path: str | pathlib.Path | None, index: int | None = None, **options: object) -> str:
    """The message of the error that opening the data set, or reading one of its images, raises."""

    def use() -> None:
        dataset = ImageDataset(DataConfig(path=None if path is None else str(path), **options))
        if index is not None:
            dataset.image(index)

    with pytest.raises(kind) as caught:
        use()
    message = str(caught.value)
    assert '\n' not in message
    assert path is None or str(path) in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message
    return message


# --- the folder or zip -------------------------------------------------------


def test_missing_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(DataError, 'no.zip') == f'no.zip: no such file or folder (looked for {tmp_path}/no.zip)'


@pytest.mark.parametrize('data', [b'', b'hello', png()])
def test_file_that_is_no_zip(tmp_path, data):
    (tmp_path / 'a.zip').write_bytes(data)
    assert 'is neither a folder nor a zip file' in refusal(DataError, tmp_path / 'a.zip')


def test_zip_cut_short(tmp_path):
    path = tmp_path / 'a.zip'
    write_zip(path, {f'{i}.png': png() for i in range(9)})
    path.write_bytes(path.read_bytes()[:-100])
    assert 'the zip is cut short' in refusal(DataError, path)


def test_no_images(tmp_path):
    assert 'holds no images; expected files ending in .png .jpg' in refusal(DataError, tmp_path)
    assert 'holds no images' in refusal(DataError, write_zip(tmp_path / 'a.zip', {}))
    assert 'holds no images' in refusal(DataError, write_zip(tmp_path / 'b.zip', {'a.txt': b''}))


@pytest.mark.parametrize('name', ['../a.png', 'x/../../a.png', '/a.png', 'C:/a.png', '..\\a.png'])
def test_zip_path_that_leads_out(tmp_path, name):
    path = write_zip(tmp_path / 'a.zip', {name: png()})
    assert 'has a path that leads out of the zip' in refusal(DataError, path)


def test_zip_bomb(tmp_path):
    path = write_zip(tmp_path / 'a.zip', {'a.png': bytes(2**20)}, zipfile.ZIP_DEFLATED)
    assert 'a.png: grows more than 200 times when unpacked' in refusal(DataError, path)


def test_zip_entry_that_lies_about_its_size(tmp_path):
    """The index promises 100 bytes, the data unpack to a megabyte: no more than the promise is ever unpacked."""
    path = tmp_path / 'a.zip'
    write_zip(path, {'a.png': bytes(2**20)}, zipfile.ZIP_DEFLATED)
    path.write_bytes(path.read_bytes().replace((2**20).to_bytes(4, 'little'), (100).to_bytes(4, 'little')))
    assert 'a.png: is damaged' in refusal(DataError, path)


def test_huge_files_are_not_read(tmp_path):
    with open(tmp_path / 'a.png', 'wb') as file:
        file.truncate(2**28 + 1)  # sparse
    assert 'is larger than 256 MB, the most that one file may have' in refusal(DataError, tmp_path)


def test_zip_links_encryption_odd_methods_and_doubles(tmp_path):
    link = zipfile.ZipInfo('a.png')
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / 'link.zip', 'w') as archive:
        archive.writestr(link, '/etc/passwd')
    assert 'a.png: is a symbolic link' in refusal(DataError, tmp_path / 'link.zip')
    path = write_zip(tmp_path / 'lzma.zip', {'a.png': png()}, zipfile.ZIP_LZMA)
    assert 'a.png: has compression method 14; expected stored or deflated' in refusal(DataError, path)
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('x/a.png', png())
        archive.writestr('x\\a.png', png())
    assert 'x/a.png: is in the zip more than once' in refusal(DataError, tmp_path / 'a.zip')


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_flipped_bit_in_a_zip(tmp_path, method):
    path = tmp_path / 'a.zip'
    write_zip(path, {f'{i}.png': png() for i in range(2)}, method)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        data[archive.infolist()[1].header_offset + 100] ^= 4
    path.write_bytes(data)
    assert '1.png: is damaged' in refusal(DataError, path, 1)


def test_zip_overwritten_while_in_use(tmp_path):
    path = tmp_path / 'a.zip'
    dataset = ImageDataset(DataConfig(path=write_zip(path, {'a.png': png(), 'b.png': png()})))
    dataset.close()
    path.write_bytes(b'x' * 2000)
    with pytest.raises(DataError, match=r'b\.png: is not where the index of the zip says'):
        dataset.image(1)
    path.unlink()
    dataset.close()
    with pytest.raises(DataError, match=r'a\.zip: can no longer be opened'):
        dataset.image(1)


def test_file_that_vanishes_from_a_folder(tmp_path):
    for name in 'ab':
        (tmp_path / f'{name}.png').write_bytes(png())
    dataset = ImageDataset(DataConfig(path=str(tmp_path)))
    (tmp_path / 'b.png').unlink()
    with pytest.raises(DataError, match=r'b\.png: is missing; was it moved or deleted while in use'):
        dataset.image(1)


def test_folder_in_place_of_an_image(tmp_path):
    (tmp_path / 'a.png').write_bytes(png())
    dataset = ImageDataset(DataConfig(path=str(tmp_path)))
    (tmp_path / 'a.png').unlink()
    os.mkdir(tmp_path / 'a.png')
    with pytest.raises(DataError, match=r'a\.png: cannot be read'):
        dataset.image(0)


# --- the images --------------------------------------------------------------


@pytest.mark.parametrize(
    ('size', 'near'),
    [((300, 200), '288x192'), ((17, 17), '16x16'), ((4, 4), '8x8'), ((300, 2), '128x8'), ((18, 9), '18x8')],
)
def test_first_image_of_a_size_that_cannot_be_trained_on(tmp_path, size, near):
    path = write_zip(tmp_path / 'a.zip', {'x.png': png(size)})
    message = refusal(DataError, path)
    assert f'{path}: x.png: is {size[0]}x{size[1]}; to train, both sides must be 4 to 64 pixels doubled' in message
    command = f'python dataset_tool.py --source={path} --dest={path[:-4]}-{near}.zip --resolution={near}'
    assert message.endswith(f'{command} --transform=center-crop')


def test_later_image_of_another_size(tmp_path):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png((16, 16)), 'b.png': png((8, 8))})
    message = refusal(DataError, path, 1)
    assert 'b.png: is 8x8, but the first image (a.png) is 16x16; all must be equal' in message
    assert '--resolution=16x16' in message


def test_grey_among_rgb(tmp_path):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'b.png': png(mode='L')})
    message = refusal(DataError, path, 1)
    assert 'b.png: is gray, but the first image (a.png) is RGB; all must be equal' in message
    assert 'python dataset_tool.py --source=' in message


def png_16_bit_rgb() -> bytes:
    """Pillow cannot write one: 8x8, 16 bits a channel."""

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
    message = refusal(DataError, path, 1)
    assert f'b.png: has {what}; training needs 8-bit RGB or gray' in message
    assert f'python dataset_tool.py --source={path} --dest={path[:-4]}-rgb.zip' in message
    assert 'has' in refusal(DataError, write_zip(tmp_path / 'first.zip', {'a.png': data}))


def test_animation(tmp_path):
    frames = [Image.new('RGB', (8, 8), colour) for colour in ('red', 'blue')]
    for kind in ('png', 'webp'):
        frames[0].save(tmp_path / f'a.{kind}', save_all=True, append_images=frames[1:])
        path = write_zip(tmp_path / f'{kind}.zip', {f'a.{kind}': (tmp_path / f'a.{kind}').read_bytes()})
        assert f'a.{kind}: is an animation of 2 frames' in refusal(DataError, path)


@pytest.mark.parametrize(
    ('size', 'message'),
    [
        ((8192, 8193), 'a.png: is 8192x8193; images of more than 67108864 pixels are refused'),
        ((60000, 60000), 'a.png: cannot be read as an image (Image size (3600000000 pixels) exceeds limit'),
    ],
)
def test_header_that_claims_too_many_pixels(tmp_path, size, message):
    data = bytearray(png())
    data[16:24] = size[0].to_bytes(4, 'big') + size[1].to_bytes(4, 'big')
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, 'big')
    path = write_zip(tmp_path / 'a.zip', {'a.png': bytes(data)})
    assert message in refusal(DataError, path)


@pytest.mark.parametrize('data', [b'', b'hello', b'GIF89a' + bytes(100), b'%!PS-Adobe-3.0 EPSF-3.0\n'])
def test_file_that_is_no_image(tmp_path, data):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'b.png': data})
    expected = 'b.png: is not a PNG, JPEG or WEBP image' if data else 'b.png: is empty'
    assert expected in refusal(DataError, path, 1)


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


# --- the labels --------------------------------------------------------------

NAMES = ['a.png', 'b.png', 'c/d.png', 'e.png', 'f.png']


def label_refusal(labels: object) -> str:
    with pytest.raises(DataError) as caught:
        parse_labels(json.dumps({'labels': labels}).encode(), NAMES, 'set.zip: dataset.json')
    message = str(caught.value)
    assert '\n' not in message
    assert message.startswith('set.zip: dataset.json: ')
    return message.removeprefix('set.zip: dataset.json: ')


def all_labelled(label: object) -> list[list[object]]:
    return [[name, label] for name in NAMES]


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        ([], 'images without a label (5 of 5): a.png, b.png, c/d.png and 2 more'),
        (all_labelled(0)[:4], 'images without a label (1 of 5): f.png'),
        ([*all_labelled(0), ['x.png', 0]], 'labels for images that are not there (1): x.png'),
        ([*all_labelled(0), ['a.png', 1]], 'images with more than one label (1): a.png'),
        ([*all_labelled(0), ['c\\d.png', 1]], 'images with more than one label (1): c/d.png'),
        (all_labelled(-1), 'class numbers outside 0 to 65535 (5): a.png (-1), b.png (-1), c/d.png (-1) and 2 more'),
        (all_labelled(10**30), f'class numbers outside 0 to 65535 (5): a.png ({10**30})'),
        (all_labelled(True), 'neither (5): a.png (true), b.png (true), c/d.png (true) and 2 more'),
        (all_labelled(1.5), 'neither (5): a.png (1.5)'),
        (all_labelled('cat'), 'a label is a class number (0, 1, ...) or a list of numbers; neither (5): a.png ("cat")'),
        (all_labelled(None), 'neither (5): a.png (null)'),
        (
            [*all_labelled(0)[:4], ['f.png', [1, 2]]],
            'of two kinds, class numbers and vectors; with vectors (1 of 5): f.png',
        ),
        ([*all_labelled([1, 2])[:4], ['f.png', [1]]], 'a.png has 2 numbers, not so (1): f.png (1)'),
        (all_labelled([]), 'label vectors are empty lists'),
        (all_labelled([1, 'x']), 'label vectors that hold something other than numbers (5): a.png [1, "x"]'),
        (all_labelled([True]), 'label vectors that hold something other than numbers (5)'),
        (all_labelled([float('nan')]), 'label vectors with NaN or infinity (5): a.png [NaN]'),
        (all_labelled([float('inf')]), 'with NaN or infinity (5): a.png [Infinity]'),
        (all_labelled([1e39]), 'with NaN or infinity'),
        (all_labelled([10**400]), 'too large for float32'),
        ({'a.png': 0}, '"labels" is a dict; expected a list [["a.png", 0]'),
        (['a.png', 0], 'entry 0 of "labels" is "a.png"; expected ["image.png", label]'),
        ([['a.png']], 'entry 0 of "labels" is ["a.png"]; expected'),
        ([[0, 'a.png']], 'entry 0 of "labels" is [0, "a.png"]; expected'),
    ],
)
def test_bad_labels(labels, message):
    assert message in label_refusal(labels)


@pytest.mark.parametrize('text', [b'', b'{"labels": [["a.png", 0],]}', b'\xff\xfe', b'[' * 100000])
def test_dataset_json_that_is_no_json(tmp_path, text):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'dataset.json': text})
    assert f'{path}: dataset.json: is not valid JSON (' in refusal(DataError, path, cond=True)


@pytest.mark.parametrize('text', [b'[]', b'{}', b'"labels"', b'null'])
def test_dataset_json_of_another_structure(tmp_path, text):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'dataset.json': text})
    assert 'dataset.json: has no "labels"; expected {"labels": [["a.png", 0]' in refusal(DataError, path, cond=True)


def test_cond_without_labels(tmp_path):
    start = '--cond=True requires labels specified in dataset.json; '
    path = write_zip(tmp_path / 'a.zip', {'a.png': png()})
    assert refusal(ConfigError, path, cond=True) == f'{start}{path}: there is no dataset.json at its root'
    path = write_zip(tmp_path / 'b.zip', {'a.png': png(), 'dataset.json': b'{"labels": null}'})
    assert refusal(ConfigError, path, cond=True) == f'{start}{path}: its dataset.json says "labels": null'


def test_cond_with_a_single_class(tmp_path):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'dataset.json': b'{"labels": [["a.png", 0]]}'})
    assert 'needs two classes or more' in refusal(ConfigError, path, cond=True)


# --- the options -------------------------------------------------------------


def test_options_out_of_range():
    assert refusal(ConfigError, None, subset=0).startswith('--subset=0: must be at least 1')
    assert refusal(ConfigError, None, subset=5000).startswith('--subset=5000: must be between 1 and 4096')
    assert 'must be a power of two, at least 8' in refusal(ConfigError, None, resolution=48)
    assert 'must be a power of two, at least 8' in refusal(ConfigError, None, resolution=4)
    assert 'are 64x64, and are never enlarged; choose 64 or less' in refusal(ConfigError, None, resolution=128)
    assert refusal(ConfigError, '').startswith('--data is empty')


# --- anything else -----------------------------------------------------------


@settings(max_examples=200, deadline=None, derandomize=True)
@given(where=st.integers(0, 10**6), what=st.binary(min_size=1, max_size=8))
def test_a_damaged_zip_reads_right_or_names_itself(tmp_path_factory, where, what):
    """Whatever bytes are overwritten: the pixels come out as they were, or a DataError does."""
    path = tmp_path_factory.mktemp('fuzz') / 'a.zip'
    write_zip(path, {'a.png': png(), 'b.png': png(), 'dataset.json': b'{"labels": [["a.png", 0], ["b.png", 1]]}'})
    data = bytearray(path.read_bytes())
    where %= len(data)
    data[where : where + len(what)] = what
    path.write_bytes(data)
    contents, message = [png()], str(path)
    try:
        source = open_source(str(path), ('.png',))
        contents = [source.read(i) for i in range(len(source))]
        parse_labels(
            source.read_labels() or b'{"labels": null}', [source.name(i) for i in range(len(source))], str(path)
        )
    except DataError as error:
        message = str(error)
    assert str(path) in message
    assert set(contents) == {png()}
