"""Tests of the records of a download; test_download.py tests the requests against a server."""

import pytest

from dnnlib.http_file import Version, forget, read_json, version_file, version_of


@pytest.mark.parametrize(
    ('text', 'version'),
    [
        ('{"version": "\\"v1\\"", "total": 7}', Version('"v1"', 7)),
        ('{"version": "\\"v1\\"", "total": null}', Version('"v1"', None)),
        ('{"version": "\\"v1\\""}', Version('"v1"', None)),  # of version 0.1.0
        ('{"version": null, "total": 7}', None),
        ('{"version": "a\\r\\nHost: b", "total": 7}', None),
        ('{"version": "v", "total": -1}', None),
        ('{}', None),
        ('[', None),
    ],
)
def test_a_partial_file_is_continued_only_if_its_version_is_known(tmp_path, text, version):
    version_file(tmp_path / 'a').write_text(text)
    assert version_of(tmp_path / 'a') == version


def test_a_damaged_record_is_empty(tmp_path):
    path = tmp_path / 'a.json'
    assert read_json(path).values == {}
    for text in ('{"size": 1', '[1]', '\udcff'):
        path.write_bytes(text.encode(errors='surrogateescape'))
        assert read_json(path).values == {}
    path.write_text('{"size": 1}')
    assert read_json(path).whole('size') == 1


def test_forgetting_removes_the_partial_file_and_its_companion(tmp_path):
    partial = tmp_path / 'a.incomplete'
    for path in (partial, version_file(partial)):
        path.write_text('{}')
    forget(partial)
    forget(partial)
    assert list(tmp_path.iterdir()) == []
