"""Tests of addresses: distinguished from paths, and shown without their secrets."""

import random

import pytest

from dnnlib.addresses import file_name, is_url, public_text, public_url, public_word


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('https://host/a', True),
        ('HTTP://host', True),
        ('file:///a', False),
        ('a/b.zip', False),
        ('httpx://host', False),
    ],
)
def test_addresses_are_distinguished_from_paths(text, expected):
    assert is_url(text) == expected


@pytest.mark.parametrize(
    ('url', 'public'),
    [
        ('http://user:word@host/path/a%20b?x=1#y', 'http://host/path/a%20b'),
        ('http://host/a@b', 'http://host/a@b'),
        ('https://me:secret@host:8/a?b=c', 'https://host:8/a'),
        ('http://user:pass@word@host:80/x?sig', 'http://host:80/x'),
        ('http://token@host', 'http://host'),
        ('http://host?sig=1', 'http://host'),
        ('http://host#a', 'http://host'),
        ('http://user:pa/ss@host/x', 'http://host/x'),
        ('http://user:pa?ss@host/x?q', 'http://host/x'),
        ('http://user:password', 'http://user'),
        ('http://[::1]:80/x', 'http://[::1]:80/x'),
        ('http://user:word@[::bad/x', 'http://[::bad/x'),
        ('a/b.zip', 'a/b.zip'),
        ('C:/Users/me', 'C:/Users/me'),
    ],
)
def test_a_public_address_has_no_secrets_and_keeps_the_rest(url, public):
    assert public_url(url) == public


@pytest.mark.parametrize(
    ('text', 'public'),
    [
        ('see (https://a.b/c?d): no', 'see (https://a.b/c): no'),
        ("'http://u:word@h/x?y'", "'http://h/x'"),
        ('http:/user:word@host/x: no such file', 'http:/host/x: no such file'),
        ('https:\\\\u:word@h\\x', 'https:\\\\h\\x'),
        ('user:word@host/x: no such file', 'host/x: no such file'),
        ('https//user:word@host/x: no such file', 'https//host/x: no such file'),
        ('https:user:word@host/x: no such file', 'host/x: no such file'),
        ('--desc=a@b', '--desc=a@b'),
        ('at 12:30@home', 'at 12:30@home'),
        ('http://a/b, http://c:d@e/f?g and more', 'http://a/b, http://e/f and more'),
    ],
)
def test_addresses_within_a_text_are_cleaned_also_mistyped_ones(text, public):
    assert public_text(text) == public


def test_an_address_is_the_rest_of_its_word_of_a_command_line():
    assert public_word('--resume=https://me:se cret@host/a?x y') == '--resume=https://host/a'
    assert public_word('--resume=https://host/a b') == '--resume=https://host/a b'
    assert public_word('--desc=a@b') == '--desc=a@b'


def test_the_name_of_the_file_is_the_end_of_the_path():
    assert file_name('https://u:p@host/nets/a%20b.pkl?x=/y#z/w') == 'a b.pkl'
    assert file_name('https://u:p@host') == ''


def test_no_secret_of_2000_random_addresses_is_shown():
    draw = random.Random(3)
    for _ in range(2000):
        word = ''.join(draw.choice('aZ9@:!$&*+,;=~%-._') for _ in range(draw.randint(0, 6))) + 'SECRET'
        user = draw.choice(['', 'me:', 'a@b:'])
        query = draw.choice(['', '?sig=SECRET', '#SECRET', '?a/b@c=SECRET'])
        host = draw.choice(['host', 'host:80', '127.0.0.1', '[::1]:8'])
        url = f'{draw.choice(["http", "https", "ftp"])}://{user}{word}@{host}/path{query}'
        assert 'SECRET' not in public_url(url), url
        assert 'SECRET' not in public_word(f'--network={url}'), url
        assert public_url(url).endswith(f'//{host}/path'), url
