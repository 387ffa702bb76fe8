"""dataset_tool.py: any pictures become a data set that trains, whole or not at all."""

import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types
import zipfile
from collections.abc import Callable

import click
import numpy as np
import pytest
from PIL import Image

from dnnlib.errors import UserError
from tests.pictures import encoded, fill, hwc, noise, noise_16, npy, read_set, run
from training.convert.pool import map_in_order
from training.convert.writer import open_writer
from training.dataset import DataConfig, ImageDataset
from training.interface import ImageSpec


def chw(image: Image.Image) -> np.ndarray:
    return hwc(image).transpose(2, 0, 1)


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
        ({'0.png': noise(0)}, ['--pad-colour=red'], '--pad-colour is the colour around pictures that --transform=pad'),
        ({'0.png': noise(0)}, ['--alpha=nocolour'], "'nocolour' is not a colour; give a name such as white"),
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
        ({'a.txt': b''}, [], 'holds no images; expected files ending in .png .jpg .jpeg .jfif .webp'),
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


def test_landscape_grey_alpha_planes_and_16_bits_come_back_whole(tmp_path):
    """The kinds of data set that there are, each out of a folder without a loss."""
    wide = hwc(noise(0, 24, 16))
    kinds = {
        'landscape': ({'0.png': noise(0, 24, 16)}, [], wide, '24x16 RGB'),
        'grey-alpha': ({'0.png': noise(0, mode='LA')}, ['--alpha=keep'], hwc(noise(0, mode='LA')),
                       '16x16 grey with alpha'),
        'alpha': ({'0.webp': encoded(noise(0, mode='RGBA'), 'WEBP', lossless=True, exact=True)}, ['--alpha=keep'],
                  hwc(noise(0, mode='RGBA')), '16x16 RGB with alpha'),
        'grey16': ({'0.png': Image.fromarray(noise_16(0, channels=1)[..., 0])}, ['--bits=16'], noise_16(0, channels=1),
                   '16x16 grey, 16 bits'),
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
    assert 'colour profiles that cannot be read, and were ignored: 2' in result.stdout


def test_verify_is_imported_when_it_is_asked_for(monkeypatch):
    @click.command()
    @click.argument('data')
    def verify(data):
        click.echo(f'verified {data}')

    module = types.ModuleType('training.verify_command')
    module.verify = verify
    monkeypatch.setitem(sys.modules, 'training.verify_command', module)
    assert 'verified b.zip' in run('verify', 'b.zip').stdout
    assert '--source belongs to a conversion; verify takes DATA' in run('--source=a', 'verify', 'b', code=2).stderr
    assert 'verify DATA' in run('--help').stdout


def test_what_is_wanting_on_the_command_line_is_named():
    assert 'a conversion needs --source=PATH and --dest=PATH' in run('--source=a', code=2).stderr
    assert 'a conversion needs' in run(code=2).stderr
    assert "No such command 'a.zip'" in run('a.zip', code=2).stderr


# --- many processes, and being interrupted -----------------------------------


def test_any_number_of_workers_gives_the_same_bytes_and_the_same_report(tmp_path):
    pictures: dict[str, Image.Image | bytes] = {f'{i:02}.png': noise(i, 20, 18, 'L') for i in range(12)}
    pictures |= {'03.png': b'bad', '08.png': noise(8, 20, 18), '10.png': b''}
    source = fill(tmp_path / 'in', pictures)
    options = ['--resolution=16x16', '--transform=center-crop']
    reports = []
    for workers in (1, 2):
        result = run('--source', source, '--dest', tmp_path / f'{workers}.zip', f'--workers={workers}', *options)
        reports.append(result.stdout.replace(f'{workers}.zip', 'N.zip'))
    assert reports[0] == reports[1]
    assert 'bad pictures left out: 2' in reports[0]
    assert sha256(tmp_path / '1.zip') == sha256(tmp_path / '2.zip')
    result = run('--source', source, '--dest', tmp_path / 'x.zip', '--workers=2', '--strict', *options, code=2)
    assert '03.png: is not a PNG' in result.stderr
    assert sorted(os.listdir(tmp_path)) == ['1.zip', '2.zip', 'in']


def test_jobs_are_read_only_a_few_ahead():
    read = []

    def jobs():
        for number in range(40):
            read.append(number)
            yield number

    results = map_in_order(abs, jobs(), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(read) <= 9
    results.close()


def test_a_worker_that_dies_is_told():
    message = r'a worker process died \(exit code 3\), mostly because memory ran out: give fewer --workers'
    with pytest.raises(UserError, match=message):
        list(map_in_order(os._exit, [3, 3, 3], 2))


def test_large_jobs_and_results_do_not_block_each_other():
    jobs = [bytes([number]) * 2**21 for number in range(12)]
    assert list(map_in_order(bytes.upper, jobs, 2)) == [job.upper() for job in jobs]


def test_an_exception_of_a_worker_is_raised_here():
    with pytest.raises(ValueError, match='invalid literal for int'):
        list(map_in_order(int, ['1', 'x', '3'], 2))


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return 'zombie' not in pathlib.Path(f'/proc/{pid}/status').read_text()
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    """Waits a minute at most, and for a process only as long as it runs."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.02)


@pytest.fixture
def conversion(root, tmp_path):
    """Starts a conversion of 400 pictures with so many workers; returns it, and its workers, when it is under way."""
    source = fill(tmp_path / 'in', {'0.png': noise(0, 900, 900)})
    for i in range(1, 400):
        os.link(source / '0.png', source / f'{i}.png')

    def start(workers: int) -> tuple[subprocess.Popen, list[int]]:
        command = [sys.executable, root / 'dataset_tool.py', f'--source={source}', f'--dest={tmp_path}/new/a.zip']
        process = subprocess.Popen(
            [*command, '--resolution=512x512', f'--workers={workers}'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        wait_until(lambda: any(path.stat().st_size > 2**20 for path in tmp_path.glob('new/a.zip*')), process)
        children = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text()
        return process, [int(pid) for pid in children.split()]

    return start


@pytest.mark.skipif(sys.platform != 'linux', reason='looks processes up in /proc')
@pytest.mark.parametrize(('number', 'workers'), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2)])
def test_a_signal_stops_it_and_leaves_nothing(tmp_path, conversion, number, workers):
    process, children = conversion(workers)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert 'a.zip was not made' in err
    assert 'Traceback' not in err
    assert out == ''
    assert sorted(os.listdir(tmp_path)) == ['in']
    wait_until(lambda: not any(map(is_running, children)))


@pytest.mark.skipif(sys.platform != 'linux', reason='looks processes up in /proc')
def test_an_end_by_force_takes_the_workers_along_and_leaves_no_data_set(tmp_path, conversion):
    process, children = conversion(2)
    assert len(children) >= 2
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not any(map(is_running, children)))
    assert not (tmp_path / 'new' / 'a.zip').exists()


@pytest.mark.parametrize('dest', ['new/a.zip', 'new/folder'])
def test_a_full_disk_is_one_sentence(tmp_path, dest):
    source = fill(tmp_path / 'in', {f'{i}.png': noise(i) for i in range(3)})
    code = (
        'import resource, signal, sys, dataset_tool\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))\n'
        'dataset_tool.main()\n'
    )
    done = subprocess.run(
        [sys.executable, '-B', '-c', code, f'--source={source}', f'--dest={tmp_path / dest}'],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f'--dest={tmp_path / dest}: cannot be written (File too large); free some space' in done.stderr
    assert 'Traceback' not in done.stderr
    assert os.listdir(tmp_path) == ['in']


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    source = fill(tmp_path / 'in', {'0.png': noise(0)})
    result = run('--source', source, '--dest', source / '0.png' / 'a.zip', code=2)
    assert 'a.zip: cannot be written (File exists)' in result.stderr


def test_a_zip_of_more_files_than_the_old_format_counts_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, 'ZIP_FILECOUNT_LIMIT', 10)  # in truth 65,535, and FFHQ has 70,000
    with open_writer(str(tmp_path / 'a.zip')) as write:
        for number in range(20):
            write(f'{number:05d}.png', b'x')
    assert b'PK\x06\x06' in (tmp_path / 'a.zip').read_bytes()  # zip64's end of central directory
    with zipfile.ZipFile(tmp_path / 'a.zip') as archive:
        assert len(archive.namelist()) == 20


def test_what_appears_meanwhile_is_not_overwritten(tmp_path):
    def write_late():
        with open_writer(str(tmp_path / 'a.zip')) as write:
            write('0.png', b'new')
            (tmp_path / 'a.zip').write_bytes(b'precious')

    with pytest.raises(UserError, match='exists already'):
        write_late()
    assert (tmp_path / 'a.zip').read_bytes() == b'precious'
    assert os.listdir(tmp_path) == ['a.zip']
