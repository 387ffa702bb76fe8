"""Labels of a new data set: the choice of --labels, names of classes, and the text of dataset.json."""

import json

import numpy as np
import pytest

from dnnlib.errors import ConfigError, DataError
from training.data.convert.labels import choose_labels, describe_labels, labels_of_json, labels_to_json
from training.data.convert.source import PixelSource, SourceLabels


class NamedSource(PixelSource):
    """Pictures with these names, and no labels of their own."""

    def __init__(self, *names: str) -> None:
        super().__init__('src', np.zeros([len(names), 1, 1, 1], np.uint8))
        self.names = names

    def name(self, index: int) -> str:
        return self.names[index]

    def read_labels(self) -> None:
        return None


def test_folders_are_classes_in_alphabetical_order():
    source = NamedSource('dog/1.png', 'cat/x/2.png', 'dog/3.png')
    labels = choose_labels(source, 'folders')
    assert (labels.values, labels.classes) == ([1, 0, 1], ['cat', 'dog'])
    assert choose_labels(source, 'none') is None
    assert choose_labels(source, 'json') is None


def test_below_a_single_top_folder_the_next_folders_are_the_classes():
    labels = choose_labels(NamedSource('animals/cat/1.png', 'animals/dog/2.png', './animals/dog/x/3.png'), 'folders')
    assert (labels.values, labels.classes) == ([0, 1, 1], ['cat', 'dog'])
    assert describe_labels(labels, [0, 1, 2])[0] == 'classes: the folders below animals/'
    labels = choose_labels(NamedSource('../a/1.png', '../b/2.png'), 'folders')  # lists may have such names
    assert labels.classes == ['a', 'b']


def test_pictures_in_one_folder_are_no_classes():
    with pytest.raises(ConfigError, match=r'all 2 pictures lie in the folder a/b/, which would make one class'):
        choose_labels(NamedSource('a/b/1.png', 'a/b/2.png'), 'folders')
    with pytest.raises(ConfigError, match=r'animals/2\.png lies in no folder below animals/ \(one of 1\)'):
        choose_labels(NamedSource('animals/cat/1.png', 'animals/2.png'), 'folders')


def test_a_class_without_a_picture_and_a_single_class_are_reported():
    named = SourceLabels(values=[0, 1, 1], classes=['cat', 'dog', 'cow'])
    assert describe_labels(named, [1, 2])[3:] == [
        'classes without an image (2): cat, cow',
        'all images are in class 1; training with labels needs two classes or more',
    ]
    assert describe_labels(SourceLabels(values=[1, 3]), [0, 1])[1:] == ['classes without an image (2): 0, 2']


@pytest.mark.parametrize('name', ['3.png', './3.png', '../3.png', '/3.png'])
def test_a_picture_in_no_folder_is_named(name):
    with pytest.raises(ConfigError, match=r'src: .*3\.png lies in no folder \(one of 1\)'):
        choose_labels(NamedSource('cat/1.png', name), 'folders')


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ('"cat"', 'must be a list of names'),
        ('["cat", 3]', 'must be a list of names'),
        ('["cat"]', 'names 1 classes, but there is a label 1'),
    ],
)
def test_names_of_classes_must_fit_the_labels(classes, message):
    text = '{"labels": [["a.png", 0], ["b.png", 1]], "classes": %s}'
    with pytest.raises(DataError, match=message):
        labels_of_json((text % classes).encode(), ['a.png', 'b.png'], 'x')
    labels = labels_of_json((text % 'null').encode(), ['a.png', 'b.png'], 'x')
    assert (labels.values, labels.classes) == ([0, 1], None)


def test_dataset_json_holds_the_labels_of_the_pictures_that_were_kept():
    labels = SourceLabels(values=[4, 5, 6], classes=['x'])
    content = json.loads(labels_to_json(labels, ['0.png', '1.png'], [0, 2]))
    assert content == {'labels': [['0.png', 4], ['1.png', 6]], 'classes': ['x']}
    assert json.loads(labels_to_json(None, ['0.png'], [0])) == {'labels': None}


def test_the_summary_counts_the_pictures_of_each_class():
    named = SourceLabels(values=[0, 1, 1], classes=['cat', 'dog'])
    assert describe_labels(named, [0, 1]) == ['class 0: cat (1)', 'class 1: dog (1)']
    assert describe_labels(SourceLabels(values=[0, 1, 1]), [0, 1, 2]) == ['labels: 2 classes of 1 to 2 pictures']
    assert describe_labels(SourceLabels(values=[[0.5, 1.0]]), [0]) == ['labels: vectors of 2 numbers']
