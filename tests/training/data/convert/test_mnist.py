"""Pictures in the idx format: MNIST, Fashion-MNIST, and files that do not fit."""

import gzip
import struct

import numpy as np
import pytest

from tests.support.pictures import fill, read_set, run, source_refusal


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
    assert message in source_refusal(tmp_path / 'train-images-idx3-ubyte.gz')


def test_mnist_labels_that_do_not_fit(tmp_path):
    fill(tmp_path, {'a-images-idx3-ubyte': idx(digits()), 'a-labels-idx1-ubyte': idx(np.zeros(4, np.uint8))})
    message = source_refusal(tmp_path / 'a-images-idx3-ubyte', use=lambda source: source.read_labels())
    assert 'holds 4 labels for the 5 pictures of' in message


@pytest.mark.parametrize('shape', [(3, 0, 5), (2**31, 0, 0), (2**31, 28, 0)])
def test_pictures_without_pixels_are_refused(tmp_path, shape):
    path = tmp_path / 'train-images-idx3-ubyte'
    path.write_bytes(b'\0\0\x08\x03' + struct.pack('>3I', *shape))
    assert 'claims pictures of' in source_refusal(path)
