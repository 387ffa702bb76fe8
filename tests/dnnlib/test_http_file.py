"""Tests of the records of a download; test_download.py tests the requests against a server."""

import random

import pytest
import requests

from dnnlib import http_file
from dnnlib.errors import DownloadError
from dnnlib.http_file import Version, forget, read_json, version_file, version_of
from dnnlib.http_request import TransientError


@pytest.mark.parametrize(
    ('text', 'version'),
    [
        ('{"version": "\\"v1\\"", "total": 7}', Version('"v1"', 7)),
        ('{"version": "\\"v1\\"", "total": null}', Version('"v1"', None)),
        ('{"version": "\\"v1\\""}', Version('"v1"', None)),  # written by version 0.1.0
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


def test_2000_random_headers_continue_only_the_same_version(tmp_path):
    """Only the version that the partial file has, from its end, with its total, is continued; other errors are ours."""
    draw, version = random.Random(8), Version('"v1"', 9)
    values = {
        'ETag': ['"v1"', '"v2"', 'W/"v1"', '"v1" ', '', '\x00', 'x' * 2000],
        'Last-Modified': ['"v1"', 'Mon', '\xff'],
        'Content-Range': [
            'bytes 4-8/9',
            'bytes 4-8/10',
            'bytes 3-8/9',
            'bytes 4-8/*',
            'bytes ٤-٨/٩',
            f'bytes 4-8/{"9" * 30}',
        ],
        'Content-Length': ['5', '-5', '5, 5', '٥', '9' * 5000],
        'Transfer-Encoding': ['chunked', 'gzip'],
        'Content-Type': ['text/html', 'x'],
        'Content-Encoding': ['identity', 'gzip', '\x1b'],
    }
    continued = 0
    for _ in range(2000):
        answer = requests.Response()
        answer.url, answer.reason = 'http://me:PW9@host/x?PW9', draw.choice([None, 'OK', '\x1b' * 999])
        answer.status_code = draw.choice([200, 206, 206, 206, 404, 416, 503, -1])
        chosen = {name: draw.choice(texts) for name, texts in values.items() if draw.random() < 0.5}
        answer.headers.update(chosen)
        partial = tmp_path / 'a'
        partial.write_bytes(b'1234')
        try:
            http_file._check(answer)
            if answer.status_code == 206:
                assert http_file._total_of_part(answer, partial, 4, version) == 9
                assert (chosen['Content-Range'], http_file._mark(answer)) == ('bytes 4-8/9', '"v1"')
                continued += 1
            else:
                http_file._total_of_whole(answer, certain=False)
        except (DownloadError, TransientError) as error:
            assert len(str(error)) < 300  # noqa: PT017
            assert 'PW9' not in str(error)  # noqa: PT017
    assert continued > 0
