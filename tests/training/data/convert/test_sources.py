"""Every kind of source: its pictures, its labels, and what it refuses."""

import gzip
import io
import json
import os
import pathlib
import pickle
import struct
import tarfile

import numpy as np
import pytest

from dnnlib.errors import ConfigError, DataError, UserError
from tests.support.pictures import encoded, fill, hwc, noise, read_set, run
from training.data.convert.labels import choose_labels
from training.data.convert.sources import open_pictures


def refusal(path: pathlib.Path, kind: type[UserError] = DataError, use=lambda source: None) -> str:
    """The message of the error that opening a source, or using it, raises."""
    with pytest.raises(kind) as caught:
        use(open_pictures(str(path)))
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_an_unknown_kind_is_told_what_is_read(tmp_path):
    (tmp_path / 'a.rar').write_bytes(b'x')
    message = refusal(tmp_path / 'a.rar')
    for kind in ('.zip', '.tar(.gz)', '_lmdb', 'cifar-10-python.tar.gz', 'idx3-ubyte', '.csv'):
        assert kind in message
    assert 'no such file or folder (looked for ' in refusal(tmp_path / 'none')


# --- tar ---------------------------------------------------------------------


def write_tar(path: pathlib.Path, files: dict[str, bytes], links: tuple[str, ...] = ()) -> pathlib.Path:
    with tarfile.open(path, 'w:gz' if path.suffix in ('.gz', '.tgz') else 'w') as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, '/etc/passwd'
            archive.addfile(info)
    return path


@pytest.mark.parametrize('name', ['a.tar', 'a.tar.gz', 'a.tgz'])
def test_tar_in_its_own_order_with_labels(tmp_path, name):
    files = {f'./{i}/p.png': encoded(noise(i)) for i in (2, 0, 1)}
    files['./dataset.json'] = json.dumps({'labels': [[f'{i}/p.png', i] for i in range(3)]}).encode()
    files['notes.txt'] = b'not a picture'
    files['._2.png'] = b'left by a Mac'
    path = write_tar(tmp_path / name, files, links=('link.png',))
    run('--source', path, '--dest', tmp_path / 'a.zip')
    images, content = read_set(tmp_path / 'a.zip')
    assert len(images) == 3
    for number, seed in enumerate((2, 0, 1)):
        assert np.array_equal(images[number], hwc(noise(seed)))
        assert content['labels'][number][1] == seed
    source = open_pictures(str(path))
    assert choose_labels(source, 'folders').classes == ['0', '1', '2']
    source.close()


def test_tar_that_is_cut_short_or_none(tmp_path):
    path = write_tar(tmp_path / 'a.tar.gz', {f'{i}.png': encoded(noise(i)) for i in range(9)})
    data = path.read_bytes()
    for name, part in (('a', data[: len(data) // 2]), ('b', b''), ('c', b'hello' * 300)):
        (tmp_path / f'{name}.tar.gz').write_bytes(part)
        assert 'is not a tar, or is cut short' in refusal(tmp_path / f'{name}.tar.gz')


def test_tar_bombs_and_lies(tmp_path):
    bomb = write_tar(tmp_path / 'bomb.tar.gz', {'a.png': bytes(2**22)})
    assert 'grows more than 200 times when unpacked' in refusal(bomb)
    info = tarfile.TarInfo('a.png')
    info.size = 2**40
    (tmp_path / 'lie.tar').write_bytes(info.tobuf() + bytes(1024))
    assert 'has a header that points beyond its end' in refusal(tmp_path / 'lie.tar')
    header = tarfile.TarInfo('x')
    header.type, header.size = tarfile.XHDTYPE, 2**30
    (tmp_path / 'pax.tar').write_bytes(header.tobuf() + bytes(1024))
    assert 'a header asks for' in refusal(tmp_path / 'pax.tar')
    twice = tmp_path / 'twice.tar'
    with tarfile.open(twice, 'w') as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo('a.png'))
    assert 'holds files of the same name (a.png)' in refusal(twice)


# --- MNIST -------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f'>BBBB{array.ndim}I', 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def digits(count: int = 5, side: int = 28) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, [count, side, side]).astype(np.uint8)


@pytest.mark.parametrize('folder', ['mnist', 'Fashion-MNIST'])
@pytest.mark.parametrize('suffix', ['', '.gz'])
def test_mnist_is_padded_to_32_with_its_labels(tmp_path, folder, suffix):
    pack = gzip.compress if suffix else bytes
    files = {
        f'train-images-idx3-ubyte{suffix}': pack(idx(digits())),
        'train-labels-idx1-ubyte.gz': gzip.compress(idx(np.array([3, 1, 4, 1, 5], np.uint8))),
    }
    source = fill(tmp_path / folder, files) / f'train-images-idx3-ubyte{suffix}'
    result = run('--source', source, '--dest', tmp_path / 'a.zip')
    images, content = read_set(tmp_path / 'a.zip')
    assert 'pictures: 5, 32x32 gray' in result.stdout
    for image, digit in zip(images, digits(), strict=True):
        assert np.array_equal(image[2:30, 2:30, 0], digit)
        assert image.sum() == digit.sum()
    assert [label for _, label in content['labels']] == [3, 1, 4, 1, 5]
    assert ('classes' in content) == (folder == 'Fashion-MNIST')
    assert ('class 3: Dress (1)' in result.stdout) == (folder == 'Fashion-MNIST')


def test_mnist_without_labels_needs_to_be_told(tmp_path):
    path = fill(tmp_path, {'t10k-images.idx3-ubyte': idx(digits(2, 16))}) / 't10k-images.idx3-ubyte'
    result = run('--source', path, '--dest', tmp_path / 'a.zip', code=2)
    assert 'there is no t10k-labels.idx1-ubyte(.gz) next to it; add it, or give --labels=none' in result.stderr
    run('--source', path, '--dest', tmp_path / 'a.zip', '--labels=none')
    images, content = read_set(tmp_path / 'a.zip')
    assert np.array_equal(np.stack(images)[..., 0], digits(2, 16))
    assert content == {'labels': None}


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', 'is not an idx file of unsigned bytes with 3 dimensions'),
        (idx(np.zeros(4, np.uint8)), 'is not an idx file'),
        (idx(digits())[:-1], 'does not hold the 3920 bytes that its header says'),
        (idx(digits()) + b'x', 'does not hold the 3920 bytes'),
        (gzip.compress(idx(digits()))[:-9], 'cannot be read'),
        (struct.pack('>BBBB3I', 0, 0, 8, 3, 2**31, 2**31, 2**31), 'cannot hold'),
        (gzip.compress(idx(np.zeros([1000, 28, 28], np.uint8))), 'cannot hold'),
    ],
)
def test_bad_mnist_files(tmp_path, data, message):
    fill(tmp_path, {'train-images-idx3-ubyte.gz': data})
    assert message in refusal(tmp_path / 'train-images-idx3-ubyte.gz')


def test_mnist_labels_that_do_not_fit(tmp_path):
    fill(tmp_path, {'a-images-idx3-ubyte': idx(digits()), 'a-labels-idx1-ubyte': idx(np.zeros(4, np.uint8))})
    message = refusal(tmp_path / 'a-images-idx3-ubyte', use=lambda source: source.read_labels())
    assert 'holds 4 labels for the 5 pictures of' in message


# --- CIFAR -------------------------------------------------------------------


def python_2_pickle(content: dict) -> bytes:
    """Protocol 2 as Python 2 wrote it: text as byte strings with memo entries, arrays through numpy.core."""
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
    message = refusal(source, UserError)
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
    assert message in refusal(cifar_10(tmp_path, changes=changes))


def test_cifar_without_its_files(tmp_path):
    source = write_tar(tmp_path / 'cifar-10-python.tar.gz', {'x/batches.meta': python_2_pickle({b'a': 1})})
    assert 'data_batch_1: is not in the archive; download it again' in refusal(source)
    source = write_tar(tmp_path / 'cifar-100-python.tar.gz', {'x/train': pickle.dumps([1])})
    assert 'train: holds a list; expected a dictionary' in refusal(source)


def test_split_is_for_cifar_alone(tmp_path):
    source = fill(tmp_path / 'in', {'0.png': noise(0)})
    result = run('--source', source, '--dest', tmp_path / 'a.zip', '--split=test', code=2)
    assert '--split=test: only CIFAR archives hold' in result.stderr


# --- lists -------------------------------------------------------------------

LISTS = {
    'a.txt': '# two of three\nx/0.png cat\n\nx/a b.PNG\tdog\n',
    'b.txt': '\ufeffx/a b.PNG   dog\nx/0.png cat',
    'c.csv': 'filename,class\r\nx/0.png,cat\r\n"x/a b.PNG",dog\r\n',
    'd.tsv': 'x\\0.png\tcat\nx/a b.PNG\tdog\n',
}


@pytest.mark.parametrize('name', LISTS)
def test_lists_of_named_classes(tmp_path, name):
    folder = fill(tmp_path / 'in', {'x/0.png': noise(0), 'x/a b.PNG': encoded(noise(1)), 'x/2.png': noise(2)})
    (folder / name).write_text(LISTS[name], newline='')
    result = run('--source', folder / name, '--dest', tmp_path / 'a.zip')
    images, content = read_set(tmp_path / 'a.zip')
    assert content['classes'] == ['cat', 'dog']
    by_label = {label: image for image, (_, label) in zip(images, content['labels'], strict=True)}
    assert np.array_equal(by_label[0], hwc(noise(0)))
    assert np.array_equal(by_label[1], hwc(noise(1)))
    assert 'class 1: dog (1)' in result.stdout


def test_lists_with_numbers_or_without_labels(tmp_path):
    fill(tmp_path / 'in', {f'{i}.png': noise(i) for i in range(3)})
    (tmp_path / 'n.csv').write_text('in/2.png,5\nin/0.png,0\n')
    (tmp_path / 'p.txt').write_text('in/1.png\n')
    source = open_pictures(str(tmp_path / 'n.csv'))
    assert source.read_labels().values == [5, 0]
    assert source.read_labels().classes is None
    assert source.read(0) == encoded(noise(2))
    assert open_pictures(str(tmp_path / 'p.txt')).read_labels() is None


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'holds no pictures'),
        ('a.png,1,2', 'lines that are not a path ending in .png'),
        ('a.png,1\nnotes', 'at most one label (1): notes'),
        ('a.png,1\na.png,2', 'lists pictures more than once (1): a.png'),
        ('a.png,cat\nb.png', 'pictures without a label (1 of 2): b.png'),
        ('a.png,0.5\nb.png,1', 'labels that are neither class numbers 0, 1, ... nor names: a.png (0.5), b.png (1)'),
        ('a.png,-1', 'neither class numbers'),
        ('a.png,65536', 'has the class number 65536; 65535 is the largest'),
        ('a.png,"x', 'is missing; was it moved'),
    ],
)
def test_bad_lists(tmp_path, text, message):
    (tmp_path / 'a.csv').write_text(text)
    assert message in refusal(tmp_path / 'a.csv', use=lambda source: (source.read_labels(), source.read(0)))


# --- LSUN --------------------------------------------------------------------


def test_lsun_is_read_without_being_touched(tmp_path):
    lmdb = pytest.importorskip('lmdb', reason='the lsun extra is not installed')
    folder = tmp_path / 'church_outdoor_train_lmdb'
    folder.mkdir()
    with lmdb.open(str(folder), map_size=2**22) as database, database.begin(write=True) as transaction:
        for seed in range(4):
            image = noise(seed, 24, 20)
            data = b'damaged' if seed == 2 else encoded(image, 'WEBP', lossless=True)
            transaction.put(f'{9 - seed}abc'.encode(), data)
    (folder / 'lock.mdb').unlink()
    result = run('--source', folder, '--dest', tmp_path / 'a.zip', '--transform=center-crop', '--resolution=16x16')
    images, content = read_set(tmp_path / 'a.zip')
    assert content == {'labels': None}
    assert len(images) == 3
    assert 'bad pictures left out: 1' in result.stdout
    assert '7abc: is not a' in result.stdout
    assert os.listdir(folder) == ['data.mdb']
    run('--source', folder, '--dest', tmp_path / 'b.zip', '--max_images=1', '--width=16', '--height=16')
    assert len(read_set(tmp_path / 'b.zip')[0]) == 1
    (folder / 'data.mdb').write_bytes(b'x' * 5000)
    assert 'cannot be read as an LMDB database' in refusal(folder)


def test_lsun_without_its_package_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'lmdb', None)
    fill(tmp_path / 'x_lmdb', {'data.mdb': b''})
    message = refusal(tmp_path / 'x_lmdb', ConfigError)
    assert message.endswith("is an LMDB database, which needs the lmdb package: pip install 'lmdb>=1.4'")
