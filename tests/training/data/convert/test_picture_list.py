"""Lists of pictures: their formats, their labels, and malformed lines."""

import os

import numpy as np
import pytest

from dnnlib.errors import DataError
from tests.support.pictures import encoded, fill, hwc, noise, read_set, run, source_refusal
from training.data.convert.sources import open_pictures

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
    assert message in source_refusal(tmp_path / 'a.csv', use=lambda source: (source.read_labels(), source.read(0)))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (b'a\0b.png\n', 'it holds a NUL'),
        ('a.png\n'.encode('utf-16'), r'it holds a NUL\); save it as UTF-8'),
        (b'x/' * 600 + b'a.png\n', 'lines whose path or label is too long'),
        (b'a.png\t' + b'9' * 5000, 'lines whose path or label is too long'),
        (b'a.png ' + b'9' * 900, 'has the class number 9999999999'),
        (b'a.png\n./a.png\n', 'lists pictures more than once'),
        (b'x' * 100_000, r'lines that are not .* \(1\): x{120}\.\.\.$'),
    ],
)
def test_hostile_lists_are_one_sentence(tmp_path, text, message):
    (tmp_path / 'list.txt').write_bytes(text)
    with pytest.raises(DataError, match=message):
        open_pictures(str(tmp_path / 'list.txt')).read_labels()


def test_a_list_may_hold_names_that_are_no_utf_8(tmp_path):
    with open(os.fsencode(tmp_path) + b'/caf\xe9.png', 'wb') as file:
        file.write(encoded(noise(0)))
    (tmp_path / 'list.txt').write_bytes(b'caf\xe9.png\n')
    assert open_pictures(str(tmp_path / 'list.txt')).read(0) == encoded(noise(0))
