"""Listing of sources: what is passed over is counted, in the same words for conversion, training and verify."""

import io
import json
import os
import shlex
import socket

import pytest

from dnnlib.errors import ConfigError, DataError
from dnnlib.log import Log
from tests.support.pictures import data_refusal, encoded, fill, noise, npy, png, run, write_tar, write_zip
from training.data.bad_images import BadImages
from training.data.convert.sources import open_pictures
from training.data.dataset import DataConfig, ImageDataset
from training.data.labels import label_width

ODD = {
    **{f'IMG_{i}.HEIC': b'x' for i in range(18)},
    'a.avif': b'x',
    'b.jp2': b'x',
    'c.tga': b'x',
    'README': b'x',
    'deep/dataset.json': b'{"labels": null}',
    '.hidden.heic': b'x',
    'manifest.json': b'{"version": 1, "files": {}}',
}
WORDS = '18 .heic, 1 .avif, 1 .jp2, 1 .tga, 1 without a known ending'
LOST = 'a dataset.json that is not at the root (deep/dataset.json)'


def odd_folder(path):
    """Returns a folder of a picture and everything that is passed over."""
    folder = fill(path / 'phone', {**ODD, '0.png': noise(0), '1.png': noise(1)})
    (path / 'other').mkdir()
    (folder / 'more').symlink_to(path / 'other')
    os.mkfifo(folder / 'pipe.png')
    return folder


def test_a_folder_counts_what_it_passes_over_in_every_command(tmp_path):
    folder = odd_folder(tmp_path)
    line = f'passed over: {WORDS}, a link to a folder (more), a link, pipe, socket or device (pipe.png), {LOST}'
    assert f'  {line}\n' in run('--source', folder, '--dest', tmp_path / 'a.zip').stdout
    assert ImageDataset(DataConfig(path=str(folder))).notes == (f'{folder}: {line}',)
    assert f'\n{line}\n' in run('verify', folder, code=1).stdout


def test_zips_and_tars_count_what_they_pass_over(tmp_path):
    files = {**ODD, '0.png': png(), '1.png': png((8, 8), 'RGB')}
    del files['manifest.json']
    assert open_pictures(write_zip(tmp_path / 'a.zip', files)).passed_over.words() == f'{WORDS}, {LOST}'
    tar = write_tar(tmp_path / 'a.tar', files, links=('link.png',))
    source = open_pictures(str(tar))
    source.close()
    assert source.passed_over.words() == f'{WORDS}, a link, pipe, socket or device (link.png), {LOST}'


def test_sources_without_other_files_pass_nothing_over(tmp_path):
    fill(tmp_path, {'0.png': noise(0), 'list.txt': b'0.png\n'})
    assert not open_pictures(str(tmp_path / 'list.txt')).passed_over


def test_a_source_without_images_says_what_it_holds(tmp_path):
    fill(tmp_path / 'a', {'1.heic': b'', '2.heic': b''})
    assert 'holds no images (passed over: 2 .heic); expected' in data_refusal(DataError, tmp_path / 'a')


@pytest.mark.parametrize('kind', ['zip', 'tar', 'folder'])
def test_the_labels_of_a_single_top_folder_are_taken(tmp_path, kind):
    names = {f'set/a{i}.png': encoded(noise(i)) for i in range(4)}
    labels = json.dumps({'labels': [[f'./a{i}.png', i % 2] for i in range(4)]}).encode()
    files = {**names, 'set/dataset.json': labels}
    if kind == 'zip':
        path = write_zip(tmp_path / 'top.zip', files)
    elif kind == 'tar':
        path = str(write_tar(tmp_path / 'top.tar', files))
    else:
        path = str(fill(tmp_path / 'top', files))
    source = open_pictures(path)
    assert source.read_labels().values == [0, 1, 0, 1]
    source.close()
    assert not source.passed_over
    if kind != 'tar':
        dataset = ImageDataset(DataConfig(path=path, cond=True))
        assert label_width(dataset._labels) == 2
        assert dataset.filename(0) == 'set/a0.png'  # digests of data sets do not change
        run('verify', path, '--no-duplicates')


def test_a_pipe_a_socket_and_a_device_are_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / 'pipe.zip')
    assert 'a named pipe; expected a file' in data_refusal(DataError, tmp_path / 'pipe.zip')
    assert 'a device; expected a file' in data_refusal(DataError, '/dev/zero')
    for name in ('a.tar', 'a.tar.gz', 'list.csv', 'train-images-idx3-ubyte.gz', 'cifar-10-python.tar.gz', 'a.zip'):
        os.mkfifo(tmp_path / name)
        run('--source', tmp_path / name, '--dest', tmp_path / 'o.zip', code=2)
    (tmp_path / 'x_lmdb').mkdir()
    os.mkfifo(tmp_path / 'x_lmdb' / 'data.mdb')
    run('--source', tmp_path / 'x_lmdb', '--dest', tmp_path / 'o.zip', code=2)
    fill(tmp_path / 'set', {'0.png': noise(0)})
    os.mkfifo(tmp_path / 'set' / 'dataset.json')
    run('--source', tmp_path / 'set', '--dest', tmp_path / 'o.zip')
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind('s.png')
        fill(tmp_path, {'list.txt': b's.png\n', 'c.csv': b'pipe.zip.png\n'})
        os.mkfifo(tmp_path / 'pipe.zip.png')
        for name in ('list.txt', 'c.csv'):
            assert 'none of its 1 pictures can be read' in run('--source', name, '--dest', 'o2.zip', code=2).stderr


def test_links_to_files_are_followed_and_dead_ones_are_named(tmp_path):
    folder = fill(tmp_path / 'set', {'0.png': noise(0)})
    (folder / '1.png').symlink_to('0.png')
    (folder / '2.png').symlink_to('nowhere.png')
    (folder / '3.png').symlink_to('3.png')
    result = run('--source', folder, '--dest', tmp_path / 'a.zip')
    assert 'pictures: 2, ' in result.stdout
    assert '2.png: is missing' in result.stdout
    assert '3.png: cannot be read (a link that leads to itself)' in result.stdout


def test_classes_without_an_image_and_a_single_class_are_reported(tmp_path):
    files = {f'{i}.png': encoded(noise(i)) for i in range(4)}
    labels = json.dumps({'labels': [[f'{i}.png', 2 * (i > 0)] for i in range(4)]}).encode()
    path = write_zip(tmp_path / 'a.zip', {**files, 'dataset.json': labels})
    notes = ImageDataset(DataConfig(path=path, cond=True)).notes
    assert notes == (f'{path}: classes without an image (1): 1',)
    subset = ImageDataset(DataConfig(path=path, cond=True, subset=1), seed=1).notes
    assert subset[-1] == f'{path}: all images are in class 2; training with labels needs two classes or more'


def test_advice_with_a_path_of_blanks_can_be_followed(tmp_path):
    folder = fill(tmp_path / 'my set' / 'x', {'a/0.npy': npy(__import__('numpy').zeros([8, 8, 4], 'u1'))}).parent
    message = data_refusal(ConfigError, folder, cond=True)
    assert f"python dataset_tool.py --source='{folder}' --dest='{folder}-labels.zip' --labels=folders" in message


def follow(message: str) -> str:
    """Runs the command of dataset_tool.py that a message ends with, and returns the new data set."""
    arguments = shlex.split(message[message.index('python dataset_tool.py ') :])[2:]
    run(*arguments)
    return next(word.removeprefix('--dest=') for word in arguments if word.startswith('--dest='))


def test_the_advice_of_messages_works(tmp_path):
    pictures = {f'{kind}/{i}.png': noise(i) for i in range(2) for kind in ('cat', 'dog')}
    folder = fill(tmp_path / 'my pets', pictures)
    labeled = follow(data_refusal(ConfigError, folder, cond=True))
    assert ImageDataset(DataConfig(path=labeled, cond=True)).spec.label_dim == 2
    size = follow(data_refusal(DataError, fill(tmp_path / 'odd', {'0.png': noise(0, 37, 30)})))
    assert ImageDataset(DataConfig(path=size)).notes == ()


def test_names_beyond_the_limit_are_refused(tmp_path):
    long = 'x/' * 600 + 'a.png'
    path = write_zip(tmp_path / 'a.zip', {'0.png': png(), long: png()})
    assert 'has a name of more than 1,024 bytes' in data_refusal(DataError, path)
    tar = write_tar(tmp_path / 'a.tar', {long: png()})
    with pytest.raises(DataError, match='has a name of more than 1,024 bytes'):
        open_pictures(str(tar))
    folder = fill(tmp_path / 'deep', {'/'.join(['x' * 200] * 6) + '/a.png': png()})
    assert 'has a name of more than 1,024 bytes' in data_refusal(DataError, folder)


def test_control_characters_of_names_never_reach_the_terminal(tmp_path):
    evil = '\x1b[31m'
    labels = json.dumps({'labels': [['0.png', 0], [f'z{evil}.png', 0]], 'classes': [evil, f'{evil}2']}).encode()
    files = {
        '0.png': png(),
        f'z{evil}.png': b'bad',
        'dataset.json': labels,
        f'a.{evil}': b'',
        f'{evil}/dataset.json': b'',
    }
    folder = fill(tmp_path / 'set', files)
    (tmp_path / 'other').mkdir()
    (folder / f'{evil}link').symlink_to(tmp_path / 'other')
    results = [
        run('--source', folder, '--dest', tmp_path / 'a.zip'),
        run('--source', folder, '--dest', tmp_path / 'b.zip', '--strict', code=2),
        run('--source', write_zip(tmp_path / 'c.zip', files), '--dest', tmp_path / 'd.zip'),
        run('verify', folder, code=1),
        run('verify', tmp_path / 'c.zip', code=1),
    ]
    dataset = ImageDataset(DataConfig(path=str(folder)))
    log = io.StringIO()
    bad = BadImages(tmp_path / 'bad-images.txt', dataset, Log(stream=log).warn)
    bad.add({f'{evil}.png': f'{evil}.png: is bad'})
    texts = [*(result.output for result in results), *dataset.notes, log.getvalue()]
    assert len(texts) == 7
    for text in texts:
        assert '\x1b' not in text
        assert '\\x1b[31m' in text
