"""CIFAR archives: pictures and labels of each split, and pickles that are never executed."""

import os
import pathlib
import pickle
import struct

import numpy as np
import pytest

from dnnlib.errors import UserError
from tests.support.pictures import read_set, run, source_refusal, write_tar


def python_2_pickle(content: dict) -> bytes:
    """Returns a pickle of protocol 2 as Python 2 wrote it.

    Text consists of byte strings with memo entries, and arrays refer to numpy.core.
    """
    out = [b'\x80\x02']

    def string(text: bytes) -> None:
        out.append((b'U' + bytes([len(text)]) if len(text) < 256 else b'T' + struct.pack('<i', len(text))) + text)
        out.append(b'r' + struct.pack('<I', len(out)))

    def value(item: object) -> None:
        if isinstance(item, bytes):
            string(item)
        elif isinstance(item, int):
            out.append(b'J' + struct.pack('<i', item))
        elif isinstance(item, list):
            out.append(b'](')
            for part in item:
                value(part)
            out.append(b'e')
        elif isinstance(item, np.ndarray):
            out.append(b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01')
            value(item.shape[0])
            value(item.shape[1])
            out.append(
                b'\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89'
            )
            string(item.tobytes())
            out.append(b'tb')

    out.append(b'}(')
    for key, item in content.items():
        string(key)
        value(item)
    out.append(b'u.')
    return b''.join(out)


def cifar_pixels(seed: int, count: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, [count, 3072]).astype(np.uint8)


def cifar_10(path: pathlib.Path, dump=python_2_pickle, changes: dict | None = None) -> pathlib.Path:
    files = {}
    for seed, name in enumerate([f'data_batch_{n}' for n in range(1, 6)] + ['test_batch']):
        content = {b'data': cifar_pixels(seed, 2), b'labels': [seed, 9 - seed], b'filenames': [b'a.png', b'b.png']}
        files[f'cifar-10-batches-py/{name}'] = dump(content | (changes or {}))
    names = [b'airplane', b'automobile', b'bird', b'cat', b'deer', b'dog', b'frog', b'horse', b'ship', b'truck']
    files['cifar-10-batches-py/batches.meta'] = dump({b'label_names': names, b'num_vis': 3072})
    files['cifar-10-batches-py/readme.html'] = b'<html>'
    return write_tar(path / 'cifar-10-python.tar.gz', files)


@pytest.mark.parametrize('dump', [python_2_pickle, pickle.dumps])
@pytest.mark.parametrize(('split', 'batches'), [(None, range(5)), ('test', [5]), ('all', range(6))])
def test_cifar_10(tmp_path, split, batches, dump):
    source = cifar_10(tmp_path, dump)
    result = run('--source', source, '--dest', tmp_path / 'a.zip', *([f'--split={split}'] if split else []))
    assert f'pictures: {2 * len(batches)}, 32x32 RGB' in result.stdout
    images, content = read_set(tmp_path / 'a.zip')
    expected = np.concatenate([cifar_pixels(seed, 2) for seed in batches]).reshape(-1, 3, 32, 32)
    assert np.array_equal(np.stack(images).transpose(0, 3, 1, 2), expected)
    assert [label for _, label in content['labels']] == [n for seed in batches for n in (seed, 9 - seed)]
    assert content['classes'][9] == 'truck'


def test_cifar_100_has_fine_labels(tmp_path):
    names = [f'name{n}'.encode() for n in range(100)]
    files = {'cifar-100-python/meta': python_2_pickle({b'fine_label_names': names, b'coarse_label_names': [b'x'] * 20})}
    for name, label in (('train', 99), ('test', 7)):
        batch = {b'data': cifar_pixels(label, 1), b'fine_labels': [label], b'coarse_labels': [1]}
        files[f'cifar-100-python/{name}'] = python_2_pickle(batch)
    source = write_tar(tmp_path / 'cifar-100-python.tar.gz', files)
    result = run('--source', source, '--dest', tmp_path / 'a.zip', '--split=all')
    assert 'class 99: name99 (1)' in result.stdout
    assert [label for _, label in read_set(tmp_path / 'a.zip')[1]['labels']] == [99, 7]


class Attack:
    def __reduce__(self):
        return os.mkdir, ('PICKLE_CODE_RAN',)


def test_cifar_pickles_are_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = cifar_10(tmp_path, lambda content: pickle.dumps(content | {b'attack': Attack()}, protocol=2))
    message = source_refusal(source, UserError)
    assert 'data_batch_1' in message
    assert 'mkdir' in message
    assert not (tmp_path / 'PICKLE_CODE_RAN').exists()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({b'data': cifar_pixels(0, 3)}, 'its 15 pictures and 10 labels do not fit'),
        ({b'data': cifar_pixels(0, 2)[:, :100]}, 'a batch has no "data" of uint8 [n, 3072]'),
        ({b'data': [1]}, 'a batch has no "data"'),
        ({b'labels': [0, 10]}, 'do not fit'),
        ({b'labels': 5}, 'has no "labels" that is a list of int'),
        ({b'labels': [b'a', b'b']}, 'has no "labels" that is a list of int'),
    ],
)
def test_bad_cifar_archives(tmp_path, changes, message):
    assert message in source_refusal(cifar_10(tmp_path, changes=changes))


@pytest.mark.parametrize('name', [b'\xff\xfe', 'a\ud800'])
def test_a_class_name_that_is_no_utf_8_is_one_sentence(tmp_path, name):
    def dump(content: dict) -> bytes:
        """Returns a pickle in which one class has another name."""
        names = content.get(b'label_names')
        return pickle.dumps(content if names is None else {b'label_names': [name, *names[1:]]}, protocol=4)

    assert 'has a class name that is not UTF-8' in source_refusal(cifar_10(tmp_path, dump))


def test_cifar_without_its_files(tmp_path):
    source = write_tar(tmp_path / 'cifar-10-python.tar.gz', {'x/batches.meta': python_2_pickle({b'a': 1})})
    assert 'data_batch_1: is not in the archive; download it again' in source_refusal(source)
    source = write_tar(tmp_path / 'cifar-100-python.tar.gz', {'x/train': pickle.dumps([1])})
    assert 'train: holds a list; expected a dictionary' in source_refusal(source)
