"""The option --class: numbers, names, blends and vectors are labels, and what is none is named with the names."""

import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.class_option import parse_class, parse_classes

NAMES = ('cat', 'dog', 'fox')
MANY = tuple(f'breed {index}' for index in range(100))


@pytest.mark.parametrize(
    ('text', 'c', 'canonical', 'title'),
    [
        ('1', [0, 1, 0], '1', 'dog'),
        (1, [0, 1, 0], '1', 'dog'),
        ('dog', [0, 1, 0], '1', 'dog'),
        (' fox ', [0, 0, 1], '2', 'fox'),
        ('cat:0.25+fox:0.75', [0.25, 0, 0.75], '0:0.25+2:0.75', '0.25 cat + 0.75 fox'),
        ('0:0.25+2:0.75', [0.25, 0, 0.75], '0:0.25+2:0.75', '0.25 cat + 0.75 fox'),
        ('cat:0.5+0:0.5', [1, 0, 0], '0:1.0', '1 cat'),
        ('0.5,-1,2e0', [0.5, -1, 2], '[0.5,-1.0,2.0]', '[0.5,-1.0,2.0]'),
        ('[0, 1, 0]', [0, 1, 0], '[0.0,1.0,0.0]', '[0.0,1.0,0.0]'),
    ],
)
def test_a_text_is_a_label_and_has_a_form_in_numbers(text, c, canonical, title):
    label = parse_class(text, 3, NAMES)
    assert (label.c.tolist(), label.text, label.title) == (c, canonical, title)
    again = parse_class(label.text, 3)
    assert torch.equal(again.c, label.c)
    assert again.text == label.text
    assert label.class_idx == (c.index(1) if canonical.isdecimal() else None)


def test_names_with_signs_are_names_and_a_number_is_a_class():
    names = ('C++', 'a:1', '0', 'all', '[x]')
    for index, name in enumerate(names):
        if name != '0':
            assert parse_class(name, 5, names).class_idx == index
    assert parse_class('0', 5, names).class_idx == 0
    assert [label.class_idx for label in parse_classes('all', 5, names)] == [3]


def test_all_means_every_class():
    assert [label.title for label in parse_classes('all', 3, NAMES)] == list(NAMES)
    assert [label.title for label in parse_classes('all', 2)] == ['class 0', 'class 1']
    assert [label.class_idx for label in parse_classes('dog', 3, NAMES)] == [1]


def test_one_number_can_be_a_vector():
    assert parse_class('0.5', 1).c.tolist() == [0.5]
    assert parse_class('0', 1).c.tolist() == [1]


def test_a_network_without_labels_takes_none():
    assert parse_class(None, 0).c.shape == (0,)
    for text in ('0', 'cat', 'all', '0.5,0.5'):
        with pytest.raises(ConfigError, match=f'--class={text}: this network is unconditional; drop --class'):
            parse_classes(text, 0)


@pytest.mark.parametrize(
    ('text', 'names', 'message'),
    [
        (None, NAMES, r'--class is needed: this network is conditional, on classes 0 to 2 \(cat, dog, fox\)'),
        ('3', NAMES, r'--class=3: this network knows classes 0 to 2 \(cat, dog, fox\)'),
        ('-1', (), '--class=-1: this network knows classes 0 to 2'),
        (5000 * '9', NAMES, 'no class is called'),
        ('dgo', NAMES, "no class is called 'dgo'; did you mean 'dog'[?] known: cat, dog, fox"),
        ('cat', (), 'the names of the classes are not known to this network; give a number from 0 to 2'),
        ('0.5', NAMES, "no class is called '0.5'"),
        ('cat:0.5+dgo:0.5', NAMES, "no class is called 'dgo'"),
        ('cat:0.5+dog', NAMES, 'expected classes with weights, such as cat:0.3'),
        ('cat:nan+dog:1', NAMES, 'expected classes with weights'),
        ('cat:-1+dog:2', NAMES, 'expected classes with weights'),
        ('cat:0.5+dog:0.6', NAMES, 'the weights sum to 1.1; they must sum to 1'),
        ('7:1', NAMES, 'this network knows classes 0 to 2'),
        ('1,2', NAMES, 'a label of this network has 3 numbers, these are 2'),
        ('1,2,nan', NAMES, 'a label vector has finite numbers'),
        ('1,2,1e300', NAMES, 'a number is too large for float32'),
        ('all', NAMES, 'one label is needed here'),
        ('', NAMES, "no class is called ''"),
    ],
)
def test_what_is_no_label_is_named_with_what_is_known(text, names, message):
    with pytest.raises(ConfigError, match=message) as error:
        parse_class(text, 3, names)
    assert '\n' not in str(error.value)


def test_many_names_are_cut_in_messages():
    with pytest.raises(ConfigError, match=r"did you mean 'breed 7'.*breed 19, and 80 more\)$"):
        parse_class('breed7', 100, MANY)


def test_a_name_of_two_classes_asks_for_a_number():
    with pytest.raises(ConfigError, match="'crane' is the name of the classes 0, 2; give a number"):
        parse_class('crane', 3, ('crane', 'dog', 'crane'))
