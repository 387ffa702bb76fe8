"""The texts of --sweep."""

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.gen_video.sweep_option import Sweep, parse_sweep


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('trunc:0..1.3', Sweep(kind='trunc', first=0, last=1.3)),
        ('trunc:1.5..-.5', Sweep(kind='trunc', first=1.5, last=-0.5)),
        ('class', Sweep(kind='class')),
        ('class:cat, dog', Sweep(kind='class', classes=('cat', 'dog'))),
        ('direction:4', Sweep(kind='direction', index=4, first=-3, last=3)),
        ('direction:0:-2..1', Sweep(kind='direction', index=0, first=-2, last=1)),
        ('noise', Sweep(kind='noise')),
        ('noise:7', Sweep(kind='noise', index=7)),
    ],
)
def test_a_sweep_is_read(text, expected):
    assert parse_sweep(text) == expected


@pytest.mark.parametrize(
    'text',
    [
        *('', 'trunc', 'trunc:0', 'trunc:0..nan', 'direction', 'direction:x', 'noise:-1', 'hue:0..1'),
        *(f'trunc:0..{5000 * "9"}', f'direction:{5000 * "9"}'),
    ],
)
def test_other_texts_are_answered_with_the_forms(text):
    with pytest.raises(ConfigError, match=r'expected one of trunc:0\.\.1\.3, class, .*noise'):
        parse_sweep(text)


@pytest.mark.parametrize('text', ['class:cat', 'class:cat,'])
def test_a_sweep_of_one_class_shows_nothing(text):
    with pytest.raises(ConfigError, match='at least two classes'):
        parse_sweep(text)
