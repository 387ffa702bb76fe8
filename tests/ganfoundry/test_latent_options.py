"""Options that choose latents: what is written is read, what cannot be is named."""

from pathlib import Path

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.latent_options import LatentsFile, Seeds, parse_latents, parse_points, parse_seeds


@pytest.mark.parametrize(
    ('text', 'seeds'), [('3', [3]), ('0,3,8-11', [0, 3, 8, 9, 10, 11]), (' 2 - 3 , 2', [2, 3, 2]), ('5-5', [5])]
)
def test_seeds_are_numbers_and_ranges(text, seeds):
    found = parse_seeds(text)
    assert list(found) == seeds
    assert [found[i] for i in range(-len(found), len(found))] == seeds * 2
    assert found[1:] == seeds[1:]
    assert list(parse_seeds(str(found))) == seeds
    with pytest.raises(IndexError):
        found[len(seeds)]


@pytest.mark.parametrize('text', ['', '1-', '-1', 'a', '1,,2', '5-2', '4294967296', '1.5', 5000 * '9'])
def test_other_words_are_refused_with_an_example_or_the_range(text):
    with pytest.raises(ConfigError, match=f'--seeds={text}: (expected numbers and ranges|a range goes up)'):
        parse_seeds(text)


def test_many_seeds_take_no_memory():
    seeds = parse_seeds('0-4294967295,5')
    assert len(seeds) == 2**32 + 1
    assert (seeds[2**32 - 1], seeds[2**32], 7 in seeds, 2**32 in seeds) == (2**32 - 1, 5, True, False)
    assert len(seeds.unique()) == 2**32


@pytest.mark.parametrize('text', ['1-3,2-5', '5,5', '2-5,1-9,0,3', '7,0-2,1-8,4', '3-4,1-2'])
def test_repeated_and_overlapping_seeds_occur_once_at_their_first_place(text):
    seeds = parse_seeds(text)
    assert list(seeds.unique()) == list(dict.fromkeys(seeds))


def test_files_have_indices_and_lists_have_both():
    assert parse_latents(['me.npz', 'a.npz:0,2-3,b.npz']) == [
        LatentsFile(path=Path('me.npz')),
        LatentsFile(path=Path('a.npz'), indices=Seeds([range(1), range(2, 4)])),
        LatentsFile(path=Path('b.npz')),
    ]
    seeds, file = parse_points('85,100-102,me.npz:0,2', '--rows')
    assert isinstance(seeds, Seeds)
    assert list(seeds) == [85, 100, 101, 102]
    assert (file.path, list(file.indices)) == (Path('me.npz'), [0, 2])


def test_a_list_may_be_longer_than_the_name_of_a_file():
    (seeds,) = parse_points(','.join(map(str, range(0, 4000, 2))), '--rows')
    assert list(seeds) == list(range(0, 4000, 2))


def test_a_file_may_have_commas_in_its_name(tmp_path):
    path = tmp_path / 'a,1:2.npz'
    path.touch()
    assert parse_points(str(path), '--rows') == [LatentsFile(path=path)]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', '--rows is empty'),
        ('1,,2', 'nothing empty between two commas'),
        ('1,cat', "'cat' is neither a seed, a range of seeds, nor FILE.npz"),
        ('me.npz:1-', "'me.npz:1-' is neither"),
        ('me.npz:5-2', 'a range goes up'),
        (':3', "':3' is neither"),
    ],
)
def test_other_lists_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_points(text, '--rows')


def test_seeds_are_no_latents_file():
    with pytest.raises(ConfigError, match=r'--latents=3-4: expected FILE.npz or FILE.npz:0,2-5, not the seeds 3-4'):
        parse_latents(['3-4'])
