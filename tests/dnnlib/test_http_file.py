"""Tests of addresses and records of a download; test_download.py tests the requests against a server."""

import pytest

from dnnlib.http_file import forget, is_url, public_url, read_json, version_file


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
def test_addresses_are_told_from_paths(text, expected):
    assert is_url(text) == expected


def test_public_address_has_no_password_and_keeps_the_rest():
    assert public_url('http://user:word@host/path/a%20b?x=1#y') == 'http://host/path/a%20b?x=1#y'
    assert public_url('http://host/a@b') == 'http://host/a@b'


def test_a_damaged_record_is_empty(tmp_path):
    path = tmp_path / 'a.json'
    assert read_json(path) == {}
    for text in ('{"size": 1', '[1]', '\udcff'):
        path.write_bytes(text.encode(errors='surrogateescape'))
        assert read_json(path) == {}
    path.write_text('{"size": 1}')
    assert read_json(path) == {'size': 1}


def test_forgetting_removes_the_partial_file_and_its_companion(tmp_path):
    partial = tmp_path / 'a.incomplete'
    for path in (partial, version_file(partial)):
        path.write_text('{}')
    forget(partial)
    forget(partial)
    assert list(tmp_path.iterdir()) == []
