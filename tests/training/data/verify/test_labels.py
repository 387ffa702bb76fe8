"""verify lists all faults of dataset.json, not only the first, and counts the images of each class."""

import json
import pathlib

import pytest

from tests.support.pictures import encoded, write_folder
from tests.support.verify_data import clean, found, look, picture, unlabelled, words, write_zip
from training.data.dataset import DataConfig, ImageDataset
from training.data.verify.survey import VerifyOptions, VerifyReport, verify_dataset

NAMES = ['00.png', '01.png', '02.png', '03.png', '04.png', '05.png']


def with_labels(tmp_path: pathlib.Path, labels: object, **more: object) -> VerifyReport:
    text = labels if isinstance(labels, bytes) else json.dumps({'labels': labels, **more}).encode()
    path = write_zip(tmp_path / 'a.zip', unlabelled({'dataset.json': text}))
    return verify_dataset(path, VerifyOptions(workers=0, duplicates=False))


def pairs(*labels: object) -> list[list[object]]:
    return [[name, label] for name, label in zip(NAMES, labels, strict=False)]


NAN = float('nan')


@pytest.mark.parametrize(
    ('labels', 'expected'),
    [
        (pairs(0, 1, 0, 1, 0), {'image-without-label': ['05.png']}),
        ([*pairs(0, 1, 0, 1, 0, 1), ['x.png', 0]], {'label-without-image': ['x.png']}),
        ([*pairs(0, 1, 0, 1, 0, 1), ['03.png', 0]], {'label-twice': ['03.png']}),
        ([*pairs(0, 1, 0, 1, 0, 1), 7, ['03.png'], [3, 0]], {'label-entry': ['dataset.json'] * 3}),
        (pairs(0, 1, 0, 1, -1, 65536), {'label-value': ['04.png', '05.png']}),
        (pairs(0, 1, 0, 'cat', True, None), {'label-value': ['03.png', '04.png', '05.png']}),
        (pairs(0, 1, 0, 1, 0, NAN), {'label-nan': ['05.png']}),
        (pairs(0, 1, 0, 1, 0, [1, 2]), {'label-mixed': ['05.png']}),
        (pairs(0, 1, 0, 1, 0, 4), {'empty-class': ['dataset.json']}),
        (pairs(0, 0, 0, 0, 0, 0), {'one-class': ['dataset.json']}),
        (pairs([1, 2], [1, 2], [1, 2], [1], [], [1, 2, 3]), {'label-length': ['03.png', '04.png', '05.png']}),
        (pairs([1], [1], [1], [NAN], [1e39], [10**400]), {'label-nan': ['03.png', '04.png', '05.png']}),
        (pairs([1], [1], [1], ['x'], [True], 'x'), {'label-value': ['03.png', '04.png', '05.png']}),
        (pairs([1], [1], [1], [1], [1], 3), {'label-mixed': ['05.png']}),
        (pairs([], [], [], [], [], []), {'label-length': NAMES}),
        ([], {'image-without-label': NAMES}),
        (None, {}),
        (b'{"labels": [["00.png", 0],]}', {'labels-file': ['dataset.json']}),
        (b'{}', {'labels-file': ['dataset.json']}),
        (b'\xff\xfe', {'labels-file': ['dataset.json']}),
        (b'{"labels": {"00.png": 1}}', {'labels-file': ['dataset.json']}),
    ],
)
def test_planted_label_is_found_by_name_and_kind(tmp_path, labels, expected):
    assert found(with_labels(tmp_path, labels)) == expected


def test_all_planted_labels_are_found_together(tmp_path):
    labels = [*pairs(0, 1, -5, NAN), ['00.png', 1], ['gone.png', 0], ['gone.png', 0], 3, ['04.png', 3]]
    report = with_labels(tmp_path, labels)
    assert found(report) == {
        'label-entry': ['dataset.json'],
        'label-without-image': ['gone.png'],
        'image-without-label': ['05.png'],
        'label-twice': ['00.png', 'gone.png'],
        'label-value': ['02.png'],
        'label-nan': ['03.png'],
        'empty-class': ['dataset.json'],
    }
    assert words(report, 'empty-class') == 'numbers classes up to 3, but some have no image (1): 2'
    assert report.labels.counts == {0: 1, 1: 1, 2: 0, 3: 1}


def test_backslashes_are_slashes(tmp_path):
    files = {f'a/{name}': data for name, data in unlabelled({}).items()}
    text = json.dumps({'labels': [[f'a\\{name}', i % 2] for i, name in enumerate(NAMES)]}).encode()
    assert (
        found(verify_dataset(write_folder(tmp_path / 'd', {**files, 'dataset.json': text}), VerifyOptions(workers=0)))
        == {}
    )


def test_classes_are_counted_and_named(tmp_path):
    report = verify_dataset(write_zip(tmp_path / 'a.zip', clean(5)), VerifyOptions(workers=0))
    assert (report.labels.kind, report.labels.width, report.labels.counts) == ('classes', 2, {0: 3, 1: 2})
    assert [report.labels.title(k) for k in (0, 1)] == ['0: cat', '1: dog']
    assert report.labels.classes.tolist() == [0, 1, 0, 1, 0]


def test_names_of_classes_that_do_not_fit(tmp_path):
    labels = pairs(0, 1, 0, 1, 0, 1)
    assert found(with_labels(tmp_path, labels, classes=['cat'])) == {'class-names': ['dataset.json']}
    assert found(with_labels(tmp_path, labels, classes={'0': 'cat'})) == {'class-names': ['dataset.json']}


def test_vectors_are_no_classes(tmp_path):
    report = with_labels(tmp_path, pairs(*[[i, 0.5] for i in range(6)]))
    assert found(report) == {}
    assert (report.labels.kind, report.labels.width, report.labels.counts) == ('vectors', 2, {})


def test_names_are_compared_in_the_form_in_which_training_compares_them(tmp_path):
    files = {f'{name}.png': encoded(picture(i)) for i, name in enumerate(('a', 'b', 'bär'))}
    labels = {'labels': [['./a.png', 0], ['x/../b.png', 1], ['ba\u0308r.png', 1]]}
    path = write_zip(tmp_path / 'a.zip', {**files, 'dataset.json': json.dumps(labels).encode()})
    assert look(path) == {}
    assert ImageDataset(DataConfig(path=path, cond=True)).spec.label_dim == 2
