"""The summary of a conversion: every count that is not zero has a line."""

import pytest

from training.data.convert.source import SourceLabels
from training.data.convert.summary import Summary


@pytest.mark.parametrize(
    ('shape', 'extension', 'bits', 'expected'),
    [
        ((16, 32, 1), '.png', 8, '32x16 gray'),
        ((16, 32, 4), '.png', 8, '32x16 RGBA'),
        ((16, 32, 3), '.npy', 16, '32x16 RGB, 16 bits'),
        ((16, 32, 4), '.npy', 8, '32x16 4 planes'),
        ((16, 32, 7), '.npy', 8, '32x16 7 planes'),
    ],
)
def test_the_first_line_names_size_channels_and_bits(shape, extension, bits, expected):
    lines = list(Summary(dest='a.zip', kept=[0, 1], shape=shape, extension=extension, bits=bits, num_deep=2).lines())
    assert lines == [f'a.zip: pictures: 2, {expected}']


def test_every_count_has_a_line():
    summary = Summary(
        dest='a.zip',
        labels=SourceLabels(values=[0, 0], classes=['cat']),
        kept=[0, 1],
        shape=(16, 16, 4),
        keeps_alpha=True,
        bad=['x.png: is cut short'],
        num_too_small=3,
        num_enlarged=4,
        num_profiles_broken=5,
        num_profiles_kept=6,
    )
    text = '\n'.join(summary.lines())
    for line in (
        'class 0: cat (2)',
        'no picture has any transparency',
        'enlarged: 4;',
        'left out: 3',
        'were ignored: 5',
        'was not applied: 6',
        'bad pictures left out: 1\n    x.png: is cut short',
    ):
        assert line in text
    summary.num_transparent = 1
    assert 'transparency' not in '\n'.join(summary.lines())
