"""dataset_tool.py: any folder or zip of pictures becomes a data set that trains."""

import hashlib
import io
import json
import os
import pathlib
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import dataset_tool
from training.dataset import DataConfig, ImageDataset
from training.interface import ImageSpec


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(dataset_tool.main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def noise(seed: int, width: int = 16, height: int = 16) -> Image.Image:
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, [height, width, 3]).astype(np.uint8))


def fill(folder: pathlib.Path, pictures: dict[str, Image.Image | bytes]) -> pathlib.Path:
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, bytes):
            (folder / name).write_bytes(picture)
        else:
            picture.save(folder / name)
    return folder


def chw(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[np.newaxis] if array.ndim == 2 else array.transpose(2, 0, 1)


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize('dest', ['set.zip', 'set'])
def test_round_trip_keeps_pixels_and_labels(tmp_path, dest):
    source = fill(tmp_path / 'in', {f'{i}/p.png': noise(i) for i in range(5)})
    labels = {'labels': [[f'{i}/p.png', i % 2] for i in range(5)]}
    fill(source, {'dataset.json': json.dumps(labels).encode()})
    result = run('--source', source, '--dest', tmp_path / dest)
    assert 'pictures: 5, 16x16 RGB' in result.stdout
    dataset = ImageDataset(DataConfig(path=str(tmp_path / dest), cond=True))
    assert dataset.spec == ImageSpec(resolution=16, channels=3, label_dim=2, num_images=5)
    for i in range(5):
        assert dataset.filename(i) == f'00000/img{i:08d}.png'
        assert np.array_equal(dataset.image(i), chw(noise(i)))
        assert dataset.label(i).argmax() == i % 2


def test_zip_to_zip_of_the_embedded_set(root, tmp_path):
    run('--source', root / 'data' / 'peeps64.zip', '--dest', tmp_path / 'a.zip', '--max-images', 20)
    small = ImageDataset(DataConfig(path=str(tmp_path / 'a.zip'), cond=True))
    whole = ImageDataset(DataConfig(cond=True))
    assert len(small) == 20
    assert all(np.array_equal(small.image(i), whole.image(i)) for i in range(20))
    assert np.array_equal(small.labels(range(20)).argmax(1), whole.labels(range(20)).argmax(1))


def test_same_pictures_give_the_same_bytes(tmp_path):
    first = fill(tmp_path / 'first', {f'{i}.png': noise(i) for i in range(3)})
    second = fill(tmp_path / 'second', {f'{i}.png': noise(i) for i in reversed(range(3))})
    os.utime(second / '0.png', (10**9, 10**9))
    run('--source', first, '--dest', tmp_path / 'a.zip')
    run('--source', second, '--dest', tmp_path / 'b.zip')
    assert sha256(tmp_path / 'a.zip') == sha256(tmp_path / 'b.zip')
    with zipfile.ZipFile(tmp_path / 'a.zip') as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_every_colour_mode_becomes_rgb(tmp_path):
    half = Image.new('RGBA', (8, 8), (200, 0, 0, 128))
    clear = Image.new('RGBA', (8, 8), (9, 9, 9, 0))
    pictures = {
        '0.png': Image.new('RGB', (8, 8), (10, 20, 30)),
        '1.png': Image.fromarray(np.full([8, 8], 0x80FF, np.uint16)),
        '2.png': Image.new('RGB', (8, 8), (10, 20, 30)).convert('P', palette=Image.Palette.ADAPTIVE),
        '3.jpg': Image.new('CMYK', (8, 8), (0, 0, 0, 0)),
        '4.png': half,
        '5.webp': clear,
        '6.bmp': Image.new('RGB', (8, 8), (1, 2, 3)),
        '7.png': Image.new('LA', (8, 8), (0, 0)),
        '8.tif': Image.new('1', (8, 8), 1),
    }
    run('--source', fill(tmp_path / 'in', pictures), '--dest', tmp_path / 'a.zip')
    dataset = ImageDataset(DataConfig(path=str(tmp_path / 'a.zip')))
    colours = [tuple(int(value) for value in image[:, 4, 4]) for image, _ in dataset]
    assert colours[:4] == [(10, 20, 30), (128, 128, 128), (10, 20, 30), (255, 255, 255)]
    assert np.abs(np.array(colours[4]) - (227, 127, 127)).max() <= 1
    assert colours[5:] == [(255, 255, 255), (1, 2, 3), (255, 255, 255), (255, 255, 255)]


def test_grey_stays_grey_only_when_all_are(tmp_path):
    grey = {'0.png': noise(0).convert('L'), '1.png': Image.fromarray(np.full([16, 16], 0x4000, np.uint16))}
    source = fill(tmp_path / 'in', grey)
    run('--source', source, '--dest', tmp_path / 'grey.zip')
    dataset = ImageDataset(DataConfig(path=str(tmp_path / 'grey.zip')))
    assert dataset.spec.channels == 1
    assert np.array_equal(dataset.image(0), chw(grey['0.png']))
    assert (dataset.image(1) == 0x40).all()
    run('--source', fill(source, {'2.png': noise(1)}), '--dest', tmp_path / 'mixed.zip')
    assert ImageDataset(DataConfig(path=str(tmp_path / 'mixed.zip'))).spec.channels == 3


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # orientation: upside down
    buffer = io.BytesIO()
    noise(0).save(buffer, format='PNG', exif=exif)
    run('--source', fill(tmp_path / 'in', {'a.png': buffer.getvalue()}), '--dest', tmp_path / 'a.zip')
    dataset = ImageDataset(DataConfig(path=str(tmp_path / 'a.zip')))
    assert np.array_equal(dataset.image(0), chw(noise(0))[:, ::-1, ::-1])


def test_center_crop_takes_the_middle_and_pad_adds_black(tmp_path):
    source = fill(tmp_path / 'in', {'a.png': noise(0, 32, 16)})
    for transform in ('center-crop', 'pad'):
        run(
            '--source',
            source,
            '--dest',
            tmp_path / f'{transform}.zip',
            '--resolution=16x16',
            f'--transform={transform}',
        )
    cropped, padded = (
        ImageDataset(DataConfig(path=str(tmp_path / f'{transform}.zip'))).image(0)
        for transform in ('center-crop', 'pad')
    )
    assert np.array_equal(cropped, chw(noise(0, 32, 16))[:, :, 8:24])
    assert padded[:, [0, 1, 14, 15]].max() <= 2  # Lanczos rings a little
    assert padded[:, 6:10].mean() > 100


def test_filters_are_antialiased_and_differ(tmp_path):
    source = fill(tmp_path / 'in', {'a.png': noise(0, 32, 32)})
    images = {}
    for name in ('box', 'lanczos'):
        run('--source', source, '--dest', tmp_path / f'{name}.zip', '--resolution=8x8', f'--resize-filter={name}')
        images[name] = ImageDataset(DataConfig(path=str(tmp_path / f'{name}.zip'))).image(0).astype(float)
    mean = chw(noise(0, 32, 32)).reshape(3, 8, 4, 8, 4).mean(axis=(2, 4))
    assert np.abs(images['box'] - mean).max() <= 1
    assert 0 < np.abs(images['lanczos'] - images['box']).mean() < 20


def test_folders_become_classes(tmp_path):
    pictures = {'dog/x/1.png': noise(0), 'dog/2.png': noise(1), 'cat/1.png': noise(2)}
    source = fill(tmp_path / 'in', pictures)
    result = run('--source', source, '--dest', tmp_path / 'a.zip', '--labels=folders')
    assert 'class 0: cat (1)' in result.stdout
    assert 'class 1: dog (2)' in result.stdout
    dataset = ImageDataset(DataConfig(path=str(tmp_path / 'a.zip'), cond=True))
    assert dataset.labels(range(3)).argmax(axis=1).tolist() == [0, 1, 1]
    fill(source, {'loose.png': noise(3)})
    result = run('--source', source, '--dest', tmp_path / 'b.zip', '--labels=folders', code=2)
    assert 'loose.png lies in no folder' in result.stderr


def test_bad_pictures_are_left_out_counted_and_named(tmp_path):
    pictures = {'0.png': noise(0), '1.png': b'no picture', '2.png': noise(2)}
    source = fill(tmp_path / 'in', pictures)
    fill(source, {'dataset.json': json.dumps({'labels': [[f'{i}.png', i] for i in range(3)]}).encode()})
    result = run('--source', source, '--dest', tmp_path / 'a.zip')
    assert 'pictures: 2, 16x16 RGB' in result.stdout
    assert 'bad pictures left out: 1' in result.stdout
    assert f'{source}/1.png: is not a PNG, JPEG' in result.stdout
    dataset = ImageDataset(DataConfig(path=str(tmp_path / 'a.zip'), cond=True))
    assert dataset.labels(range(2)).argmax(axis=1).tolist() == [0, 2]
    assert np.array_equal(dataset.image(1), chw(noise(2)))


def test_enlarging_is_told(tmp_path):
    result = run(
        '--source', fill(tmp_path / 'in', {'0.png': noise(0)}), '--dest', tmp_path / 'a.zip', '--resolution=32x32'
    )
    assert 'smaller than that, and enlarged: 1' in result.stdout


@pytest.mark.parametrize(
    ('pictures', 'arguments', 'message'),
    [
        ({'0.png': noise(0), '1.png': b'x'}, ['--strict'], '1.png: is not a PNG, JPEG'),
        ({'0.png': b'x', '1.png': b'x'}, [], 'none of its 2 pictures can be read: '),
        ({'0.png': noise(0, 16, 8)}, [], '0.png: is 16x8, not square. Give --resolution=WxH with --transform='),
        ({'0.png': noise(0, 12, 12)}, [], '0.png: is 12x12, no power of two. Give --resolution=8x8'),
        ({'0.png': noise(0), '1.png': noise(0, 8, 8)}, [], '1.png: is 8x8, but those before are 16x16'),
        ({'0.png': noise(0)}, ['--transform=pad'], '--transform=pad needs --resolution=WxH'),
        ({'0.png': noise(0)}, ['--resolution=16x8'], '16x8 must be square and a power of two'),
        ({'0.png': noise(0)}, ['--resolution=12x12'], '12x12 must be square and a power of two'),
        ({'0.png': noise(0)}, ['--resolution=big'], "'big' is not WIDTHxHEIGHT, such as 256x256"),
        ({'a.txt': b''}, [], 'holds no images; expected files ending in .png .jpg .jpeg .webp .bmp .tif .tiff'),
        ({'0.png': noise(0), 'dataset.json': b'{'}, [], 'dataset.json: is not valid JSON'),
    ],
)
def test_refusals_say_why_and_leave_nothing_behind(tmp_path, pictures, arguments, message):
    source = fill(tmp_path / 'in', pictures)
    for dest in ('out.zip', 'out'):
        result = run('--source', source, '--dest', tmp_path / dest, *arguments, code=2)
        assert message in result.stderr
        assert 'Traceback' not in result.output
        assert sorted(os.listdir(tmp_path)) == ['in']


def test_nothing_is_overwritten(tmp_path):
    source = fill(tmp_path / 'in', {'0.png': noise(0)})
    (tmp_path / 'a.zip').write_bytes(b'precious')
    assert 'exists already' in run('--source', source, '--dest', tmp_path / 'a.zip', code=2).stderr
    assert (tmp_path / 'a.zip').read_bytes() == b'precious'
    assert 'new or empty' in run('--source', source, '--dest', source, code=2).stderr
    assert '--dest is empty' in run('--source', source, '--dest', '', code=2).stderr
    (tmp_path / 'empty').mkdir()
    run('--source', source, '--dest', tmp_path / 'empty')
    assert sorted(os.listdir(tmp_path / 'empty')) == ['00000', 'dataset.json']


def test_missing_source(tmp_path):
    assert 'no such file or folder' in run('--source', tmp_path / 'x', '--dest', tmp_path / 'a.zip', code=2).stderr
