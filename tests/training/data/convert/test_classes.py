"""--classes: chosen by name, number and range, numbered anew, with only their pictures in the data set."""

from __future__ import annotations

import json
import zipfile

import pytest

from dnnlib.errors import ConfigError
from dnnlib.signals import StopSignal
from tests.support.runs import make_zip
from training.data.convert.classes import choose_classes
from training.data.convert.options import ConvertOptions
from training.data.convert.run import convert_pictures
from training.data.convert.source import SourceLabels

LABELS = SourceLabels(values=[2, 0, 1, 2, 0], classes=['cat', 'dog', 'red fox'])


@pytest.mark.parametrize(
    ('choice', 'positions', 'values', 'names'),
    [
        ('red fox,cat', [0, 1, 3, 4], [0, 1, 0, 1], ['red fox', 'cat']),
        ('1', [2], [0], ['dog']),
        (' 0-1 ', [1, 2, 4], [0, 1, 0], ['cat', 'dog']),
    ],
)
def test_classes_are_numbered_in_the_order_of_the_choice(choice, positions, values, names) -> None:
    labels, chosen = choose_classes(LABELS, choice)
    assert chosen == positions
    assert [labels.values[index] for index in chosen] == values
    assert labels.classes == names


def test_classes_without_names_are_chosen_by_number() -> None:
    labels, chosen = choose_classes(SourceLabels(values=[0, 3, 1]), '3')
    assert (chosen, labels.values[1], labels.classes) == ([1], 0, None)


@pytest.mark.parametrize(
    ('labels', 'choice', 'message'),
    [
        (LABELS, 'dgo', r"--classes=dgo: no class 'dgo'; did you mean 'dog'\?"),
        (LABELS, '3', r'the classes of the source are 0 to 2, not 3'),
        (LABELS, '2-1', r'the classes of the source are 0 to 2, not 2-1'),
        (LABELS, 'cat,0', r'names a class twice'),
        (LABELS, '', r"no class ''"),
        (None, 'cat', r'the source has no labels; --labels=folders\?'),
        (SourceLabels(values=[[0.5, 0.5]]), '0', r'the source has label vectors'),
        (SourceLabels(values=[0], classes=['a', 'b']), 'b', r'no picture of the source is of these classes'),
    ],
)
def test_what_cannot_be_chosen_is_refused(labels, choice, message) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_classes(labels, choice)


def test_only_their_pictures_are_in_the_data_set_and_the_limit_counts_them(tmp_path) -> None:
    source = make_zip(tmp_path / 'all.zip', num_images=12, classes=3)
    with zipfile.ZipFile(source) as archive:
        all_labels = dict(json.loads(archive.read('dataset.json'))['labels'])
    dest = tmp_path / 'some.zip'
    options = ConvertOptions(source=str(source), dest=str(dest), classes='2,1', max_images=3, num_workers=1)
    with StopSignal() as stop:
        convert_pictures(options, stop)
    with zipfile.ZipFile(dest) as archive:
        written = json.loads(archive.read('dataset.json'))['labels']
        origins = [archive.getinfo(name).comment.decode() for name, _ in written]
    assert [label for _, label in written] == [{2: 0, 1: 1}[all_labels[name]] for name in origins]
    assert len(written) == 3


def test_classes_without_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'--classes=1: chooses by labels, and --labels=none has none'):
        ConvertOptions(source='a', dest='b', classes='1', labels='none')
