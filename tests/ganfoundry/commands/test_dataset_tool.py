"""dataset_tool.py: any pictures become a data set that trains, whole or not at all."""

import io
import json
import os
import shlex
import sys
import types

import click
import numpy as np
import pytest
from PIL import Image

from ganfoundry.commands import dataset_tool
from tests.support.pictures import encoded, fill, hwc, noise, noise_16, npy, read_set, run, sha256
from training.data.convert.png import encode_png
from training.data.dataset import DataConfig, ImageDataset
from training.interface import ImageSpec


def chw(image: Image.Image) -> np.ndarray:
    return hwc(image).transpose(2, 0, 1)


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
    run(
        '--source',
        root / 'training' / 'data' / 'embedded' / 'peeps64.zip',
        '--dest',
        tmp_path / 'a.zip',
        '--max-images',
        20,
    )
    small = ImageDataset(DataConfig(path=str(tmp_path / 'a.zip'), cond=True))
    whole = ImageDataset(DataConfig(cond=True))
    assert len(small) == 20
    assert all(np.array_equal(small.image(i), whole.image(i)) for i in range(20))
    assert np.array_equal(small.labels(range(20)).argmax(1), whole.labels(range(20)).argmax(1))


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
        (
            {'0.png': noise(0, 5, 7)},
            [],
            '0.png: is 5x7, a size that networks cannot be built for. Give --resolution=8x8',
        ),
        ({'0.png': noise(0, 301, 200)}, [], 'Give --resolution=288x192 with --transform=center-crop, pad or resize'),
        ({'0.png': noise(0), '1.png': noise(0, 8, 8)}, [], '1.png: is 8x8, but those before are 16x16'),
        ({'0.png': noise(0)}, ['--transform=pad'], '--transform=pad needs --resolution=WxH'),
        ({'0.png': noise(0)}, ['--transform=center-crop'], '--transform=center-crop needs --resolution=WxH'),
        ({'0.png': noise(0)}, ['--resolution=9x9'], '--resolution=9x9: networks cannot be built for 9x9; the'),
        ({'0.png': noise(0)}, ['--resolution=8x16', '--transform=center-crop-wide'], '8x16 is not wide'),
        ({'0.png': noise(0)}, ['--width=16'], '--width and --height go together; give --height too'),
        ({'0.png': noise(0)}, ['--width=8', '--height=8', '--resolution=8x8'], '--resolution says the same as'),
        ({'0.png': noise(0)}, ['--resolution=32x16', '--transform=center-crop-wide'], '1 pictures are too small'),
        ({'0.png': noise(0)}, ['--shuffle-seed=1'], '--shuffle-seed chooses which --max-images pictures'),
        ({'0.png': noise(0)}, ['--pad-colour=red'], '--pad-colour is the color around pictures that --transform=pad'),
        ({'0.png': noise(0)}, ['--alpha=nocolour'], "'nocolour' is not a color; give a name such as white"),
        (
            {'0.npy': npy(noise_16(0, channels=5)), '1.npy': npy(noise_16(0, channels=6))},
            [],
            '1.npy: has 6 channels, but',
        ),
        ({'0.npy': npy(noise_16(0, channels=5))}, ['--mode=RGB'], 'has 5 planes, which --mode=RGB cannot turn into'),
        ({'0.png': noise(0), 'dataset.json': b'{"labels": []}'}, [], 'dataset.json: images without a label (1 of 1)'),
        (
            {'a.png': noise(0), 'dataset.json': b'{"labels": [["a.png", 1]], "classes": ["x"]}'},
            [],
            'names 1 classes, but',
        ),
        (
            {'a.png': noise(0), 'dataset.json': b'{"labels": [["a.png", 0]], "classes": 5}'},
            [],
            '"classes" must be a list',
        ),
        ({'0.png': noise(0)}, ['--resolution=big'], "'big' is not WIDTHxHEIGHT, such as 256x256"),
        ({'a.txt': b''}, [], 'holds no images (passed over: 1 .txt); expected files ending in .png .jpg .jpeg .jfif'),
        ({'0.png': noise(0), 'dataset.json': b'{'}, [], 'dataset.json, line 1: not JSON'),
    ],
)
def test_refusals_say_why_and_leave_nothing_behind(tmp_path, pictures, arguments, message):
    source = fill(tmp_path / 'in', pictures)
    for dest in ('out.zip', 'out'):
        result = run('--source', source, '--dest', tmp_path / dest, *arguments, code=2)
        assert message in result.stderr
        assert 'Traceback' not in result.output
        assert sorted(os.listdir(tmp_path)) == ['in']


def test_missing_source(tmp_path):
    assert 'no such file or folder' in run('--source', tmp_path / 'x', '--dest', tmp_path / 'a.zip', code=2).stderr


def test_landscape_grey_alpha_planes_and_16_bits_come_back_whole(tmp_path):
    """The kinds of data set that there are, each out of a folder without a loss."""
    wide = hwc(noise(0, 24, 16))
    kinds = {
        'landscape': ({'0.png': noise(0, 24, 16)}, [], wide, '24x16 RGB'),
        'grey-alpha': ({'0.png': noise(0, mode='LA')}, ['--alpha=keep'], hwc(noise(0, mode='LA')),
                       '16x16 gray with alpha'),
        'alpha': ({'0.webp': encoded(noise(0, mode='RGBA'), 'WEBP', lossless=True, exact=True)}, ['--alpha=keep'],
                  hwc(noise(0, mode='RGBA')), '16x16 RGBA'),
        'grey16': ({'0.png': Image.fromarray(noise_16(0, channels=1)[..., 0])}, ['--bits=16'], noise_16(0, channels=1),
                   '16x16 gray, 16 bits'),
        'rgb16': ({'0.npy': npy(noise_16(0))}, ['--bits=16'], noise_16(0), '16x16 RGB, 16 bits'),
        'planes': ({'0.npy': npy(noise_16(0, 24, 16, 6).astype(np.uint8))}, [], noise_16(0, 24, 16, 6).astype(np.uint8),
                   '24x16 6 planes'),
        'two': ({'0.npy': npy(noise_16(0, channels=2).astype(np.uint8))}, [], noise_16(0, channels=2).astype(np.uint8),
                '16x16 2 planes'),
    }  # fmt: skip
    for name, (pictures, options, expected, words) in kinds.items():
        source = fill(tmp_path / name, pictures)
        result = run('--source', source, '--dest', tmp_path / f'{name}.zip', *options)
        assert f'pictures: 1, {words}\n' in result.stdout
        (image,), content = read_set(tmp_path / f'{name}.zip')
        assert image.dtype == expected.dtype
        assert np.array_equal(image, expected)
        assert content == {'labels': None}
        run('--source', tmp_path / f'{name}.zip', '--dest', tmp_path / f'{name}2.zip', *options)
        assert sha256(tmp_path / f'{name}2.zip') == sha256(tmp_path / f'{name}.zip')


@pytest.mark.parametrize(
    ('pictures', 'options', 'expected', 'facts'),
    [
        (lambda i: noise(i, mode='L'), [], lambda i: hwc(noise(i, mode='L')), {'channels': 1}),
        (noise, [], lambda i: hwc(noise(i)), {'channels': 3}),
        (lambda i: noise(i, mode='LA'), ['--alpha=keep'], lambda i: hwc(noise(i, mode='LA')), {'channels': 2}),
        (lambda i: noise(i, mode='RGBA'), ['--alpha=keep'], lambda i: hwc(noise(i, mode='RGBA')), {'channels': 4}),
        (lambda i: noise(i, 24, 16), [], lambda i: hwc(noise(i, 24, 16)), {'channels': 3, 'base': (4, 6)}),
        (lambda i: encode_png(noise_16(i, channels=1)), ['--bits=16'], lambda i: noise_16(i, channels=1),
         {'channels': 1, 'bits': 16}),
        (lambda i: encode_png(noise_16(i)), ['--bits=16'], noise_16, {'channels': 3, 'bits': 16}),
        (lambda i: npy(noise_16(i, channels=6)), ['--bits=16'], lambda i: noise_16(i, channels=6),
         {'channels': 6, 'bits': 16}),
    ],
    ids=['grey', 'rgb', 'grey-alpha', 'rgba', 'landscape', 'grey-16', 'rgb-16', 'planes-16'],
)  # fmt: skip
def test_what_is_written_is_what_training_reads(tmp_path, pictures, options, expected, facts):
    """Converts folder -> zip -> data set, labeled by sub-folder, with every kind of image."""
    files = {}
    for i in range(3):
        picture = pictures(i)
        is_npy = isinstance(picture, bytes) and picture.startswith(b'\x93NUMPY')
        files[f'{"ab"[i % 2]}/{i}.{"npy" if is_npy else "png"}'] = picture
    source = fill(tmp_path / 'in', files)
    run('--source', source, '--dest', tmp_path / 'a.zip', '--labels=folders', *options)
    dataset = ImageDataset(DataConfig(path=str(tmp_path / 'a.zip'), cond=True))
    assert dataset.spec == ImageSpec(resolution=16, label_dim=2, num_images=3, **facts)
    for index, (seed, label) in enumerate([(0, 0), (2, 0), (1, 1)]):
        assert np.array_equal(dataset.image(index).transpose(1, 2, 0), expected(seed))
        assert dataset.image(index).dtype == expected(seed).dtype
        assert dataset.label(index).argmax() == label
    dataset.close()


def test_nvidias_commands_work(tmp_path):
    source = fill(tmp_path / 'in', {f'{i}.png': noise(i, 40, 30) for i in range(3)})
    commands = [
        ['--width=16', '--height=16', '--resize-filter=box'],
        ['--transform=center-crop', '--width=16', '--height=16', '--max_images=2'],
        ['--transform=center-crop-wide', '--width=32', '--height=16'],
        ['--resolution=32x16', '--transform=center-crop-wide', '--resize-filter', 'lanczos'],
    ]
    shapes = []
    for number, command in enumerate(commands):
        run('--source', source, f'--dest={tmp_path}/{number}.zip', *command)
        images, _ = read_set(tmp_path / f'{number}.zip')
        shapes.append((len(images), *images[0].shape))
    assert shapes == [(3, 16, 16, 3), (2, 16, 16, 3), (3, 32, 32, 3), (3, 32, 32, 3)]


def test_padding_has_its_colour_and_is_transparent_where_alpha_is_kept(tmp_path):
    source = fill(tmp_path / 'in', {'a.png': noise(0, 32, 16)})
    pad = ['--resolution=16x16', '--transform=pad']
    corners = {}
    for name, options in {'plain': [], 'colour': ['--pad-colour=#102030'], 'keep': ['--alpha=keep'],
                          'both': ['--alpha=keep', '--pad-colour=red'], 'deep': ['--bits=16', '--pad-colour=#0000ff'],
                          'grey': ['--mode=L', '--pad-colour=white']}.items():  # fmt: skip
        run('--source', source, '--dest', tmp_path / f'{name}.zip', *pad, *options)
        corners[name] = read_set(tmp_path / f'{name}.zip')[0][0][0, 0].tolist()
    assert corners == {'plain': [0, 0, 0], 'colour': [16, 32, 48], 'keep': [0, 0, 0, 0], 'both': [255, 0, 0, 255],
                       'deep': [0, 0, 65535], 'grey': [255]}  # fmt: skip


def test_alpha_over_a_colour_makes_grey_pictures_coloured(tmp_path):
    source = fill(tmp_path / 'in', {'0.png': noise(0, mode='L'), '1.png': Image.new('LA', (16, 16), (9, 0))})
    run('--source', source, '--dest', tmp_path / 'a.zip', '--alpha=#ff8000')
    images, _ = read_set(tmp_path / 'a.zip')
    assert np.array_equal(images[0], hwc(noise(0, mode='L').convert('RGB')))
    assert (images[1] == (255, 128, 0)).all()
    run('--source', source, '--dest', tmp_path / 'b.zip', '--alpha=black')
    assert [image.shape[2] for image in read_set(tmp_path / 'b.zip')[0]] == [1, 1]


def test_mode_can_be_asked_for_and_alpha_that_is_none_is_told(tmp_path):
    source = fill(tmp_path / 'in', {'0.png': noise(0)})
    run('--source', source, '--dest', tmp_path / 'a.zip', '--mode=L')
    assert np.array_equal(read_set(tmp_path / 'a.zip')[0][0], hwc(noise(0).convert('L')))
    result = run('--source', source, '--dest', tmp_path / 'b.zip', '--alpha=keep')
    assert 'alpha was kept, but no picture has any transparency' in result.stdout


def test_labels_can_be_left_out_and_class_names_are_carried_over(tmp_path):
    labels = {'labels': [['0.png', 1], ['1.png', 0]], 'classes': ['cat', 'dog']}
    source = fill(tmp_path / 'in', {f'{i}.png': noise(i) for i in range(2)})
    fill(source, {'dataset.json': json.dumps(labels).encode()})
    result = run('--source', source, '--dest', tmp_path / 'a.zip')
    assert 'class 1: dog (1)' in result.stdout
    content = read_set(tmp_path / 'a.zip')[1]
    assert content == {
        'labels': [['00000/img00000000.png', 1], ['00000/img00000001.png', 0]], 'classes': ['cat', 'dog']
    }  # fmt: skip
    run('--source', source, '--dest', tmp_path / 'b.zip', '--labels=none')
    assert read_set(tmp_path / 'b.zip')[1] == {'labels': None}


def test_label_vectors_are_carried_over(tmp_path):
    source = fill(tmp_path / 'in', {'0.png': noise(0)})
    fill(source, {'dataset.json': b'{"labels": [["0.png", [0.5, -1]]]}'})
    assert 'labels: vectors of 2 numbers' in run('--source', source, '--dest', tmp_path / 'a.zip').stdout
    assert read_set(tmp_path / 'a.zip')[1]['labels'] == [['00000/img00000000.png', [0.5, -1.0]]]


def test_a_random_choice_is_the_same_for_a_seed(tmp_path):
    source = fill(tmp_path / 'in', {f'{i:02}.png': noise(i) for i in range(20)})
    chosen = {}
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        run('--source', source, '--dest', tmp_path / f'{name}.zip', '--max-images=5', f'--shuffle-seed={seed}')
        images, _ = read_set(tmp_path / f'{name}.zip')
        chosen[name] = [i for image in images for i in range(20) if np.array_equal(image, hwc(noise(i)))]
    assert chosen['a'] == chosen['b'] == sorted(chosen['a'])
    assert len(set(chosen['a'])) == 5
    assert chosen['a'] != chosen['c']


def test_profiles_that_cannot_be_read_are_counted(tmp_path):
    pictures = {f'{i}.png': encoded(noise(i), icc_profile=b'broken') for i in range(2)}
    result = run('--source', fill(tmp_path / 'in', pictures), '--dest', tmp_path / 'a.zip')
    assert 'color profiles that cannot be read, and were ignored: 2' in result.stdout


def test_verify_is_imported_when_it_is_asked_for(monkeypatch):
    @click.command()
    @click.argument('data')
    def verify(data):
        click.echo(f'verified {data}')

    module = types.ModuleType('training.data.verify.command')
    module.verify = verify
    monkeypatch.setitem(sys.modules, 'training.data.verify.command', module)
    assert 'verified b.zip' in run('verify', 'b.zip').stdout
    assert '--source belongs to a conversion; verify takes DATA' in run('--source=a', 'verify', 'b', code=2).stderr
    assert 'verify DATA' in run('--help').stdout


def test_what_is_wanting_on_the_command_line_is_named():
    assert 'a conversion needs --source=PATH and --dest=PATH' in run('--source=a', code=2).stderr
    assert 'a conversion needs' in run(code=2).stderr
    assert "No such command 'a.zip'" in run('a.zip', code=2).stderr


def test_every_command_of_the_documentation_is_understood(root):
    text = (root / 'docs' / 'data.md').read_text()
    lines = [line for line in text.splitlines() if line.startswith('python dataset_tool.py --')]
    assert len(lines) > 12
    for line in lines:
        context = dataset_tool.main.make_context('dataset_tool.py', shlex.split(line)[2:])
        options = dataset_tool.read_options(context.params)
        assert options.dest.endswith('.zip')
