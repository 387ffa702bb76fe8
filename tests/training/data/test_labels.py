"""dataset.json: every fault is one clear line."""

import json

import numpy as np
import PIL.Image
import pytest

from dnnlib.errors import ConfigError, DataError
from tests.support.pictures import data_refusal, png, write_zip
from training.data.dataset import DataConfig, ImageDataset
from training.data.labels import parse_labels

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


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (b'', ', line 1: not JSON, Expecting value'),
        (b'{"labels": [["a.png", 0],]}', ', line 1: not JSON'),
        (b'\xff\xfe', ', line 1: not UTF-8'),
        (b'[' * 100000, ': nested deeper than 32'),
        (b'{"labels": null, "labels": null}', ': "labels" is given twice'),
    ],
)
def test_dataset_json_that_is_no_json(tmp_path, text, reason):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'dataset.json': text})
    assert f'{path}: dataset.json{reason}' in data_refusal(DataError, path, cond=True)


@pytest.mark.parametrize('text', [b'[]', b'{}', b'"labels"', b'null'])
def test_dataset_json_of_another_structure(tmp_path, text):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'dataset.json': text})
    assert 'dataset.json: has no "labels"; expected {"labels": [["a.png", 0]' in data_refusal(
        DataError, path, cond=True
    )


def test_names_are_compared_in_one_form_and_both_sides_are_shown():
    labels = [['./a.png', 0], ['x/../b.png', 1], ['c\\d.png', 2], ['e.png', 3], ['.//f.png', 4]]
    text = json.dumps({'labels': labels}).encode()
    assert parse_labels(text, NAMES, 'x').tolist() == [0, 1, 2, 3, 4]
    assert parse_labels(text, [f'./{name}' for name in NAMES], 'x').tolist() == [0, 1, 2, 3, 4]
    composed, decomposed = 'b\xe4r.png', 'ba\u0308r.png'
    assert parse_labels(json.dumps({'labels': [[composed, 3]]}).encode(), [decomposed], 'x').tolist() == [3]
    refusal = label_refusal([[name.replace('.png', '.jpg'), 0] for name in NAMES])
    assert refusal == (
        'images without a label (5 of 5): a.png, b.png, c/d.png and 2 more; labels for images that are not there (5): '
        'a.jpg, b.jpg, c/d.jpg and 2 more; their endings differ: write the names of the images into dataset.json'
    )


def test_cond_without_labels(tmp_path):
    start = '--cond=True requires labels specified in dataset.json; '
    path = write_zip(tmp_path / 'a.zip', {'a.png': png()})
    assert data_refusal(ConfigError, path, cond=True) == (
        f'{start}{path}: there is no dataset.json at its root. If each class has a folder: '
        f'python dataset_tool.py --source={path} --dest={tmp_path}/a-labels.zip --labels=folders'
    )
    path = write_zip(tmp_path / 'b.zip', {'a.png': png(), 'dataset.json': b'{"labels": null}'})
    assert f'{start}{path}: its dataset.json says "labels": null. If' in data_refusal(ConfigError, path, cond=True)


def test_cond_with_a_single_class(tmp_path):
    path = write_zip(tmp_path / 'a.zip', {'a.png': png(), 'dataset.json': b'{"labels": [["a.png", 0]]}'})
    assert 'needs two classes or more' in data_refusal(ConfigError, path, cond=True)


@pytest.mark.parametrize(
    ('classes', 'names'),
    [
        (['cat', 'dog'], ('cat', 'dog')),
        (['cat', 'dog', 'none of these'], ('cat', 'dog')),
        (['cat'], ()),
        (['cat', 3], ()),
        ({'cat': 0}, ()),
        (None, ()),
    ],
)
def test_the_names_of_all_classes_or_of_none_are_known(tmp_path, classes, names):
    for index in range(2):
        PIL.Image.fromarray(np.zeros([8, 8, 3], np.uint8)).save(tmp_path / f'{index}.png')
    content = {'labels': [['0.png', 0], ['1.png', 1]], 'classes': classes}
    (tmp_path / 'dataset.json').write_text(json.dumps(content))
    assert ImageDataset(DataConfig(path=str(tmp_path), cond=True)).class_names == names
    assert ImageDataset(DataConfig(path=str(tmp_path))).class_names == ()
