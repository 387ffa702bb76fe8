"""R15: whatever a server does, nothing enters the cache that is not what was asked for.

Each trouble, and what becomes of it, has a test of its own in tests/dnnlib/test_download.py; here they come mixed.
"""

import pytest

from dnnlib.download import fetch
from dnnlib.errors import DownloadError
from tests.dnnlib.test_download import DATA, QUICK, SHA256, files_of, server

pytestmark = pytest.mark.slow

__all__ = ['server']  # a fixture

TROUBLES = ('cut', 'stall', 'fail', 'html', 'html_in_disguise', 'too_short', 'chunked_cut', 'no_version', 'damaged',
            'wrong_part', 'rest_of_another_version', 'rest_of_another_size', 'beyond')  # fmt: skip


@pytest.mark.parametrize('first', TROUBLES)
def test_any_two_troubles_in_a_row(server, first):
    """The file comes whole, or there is an error and nothing in the cache."""
    for second in TROUBLES:
        server.plan = [first, second]
        try:
            path = fetch(server.url, sha256=SHA256, timeouts=QUICK)
        except DownloadError:
            assert not {'net.safetensors', 'net.safetensors.json'} & set(files_of(server))
        else:
            assert path.read_bytes() == DATA
            for name in ('net.safetensors', 'net.safetensors.json'):
                path.with_name(name).unlink()
    server.plan = []
    assert fetch(server.url, sha256=SHA256, timeouts=QUICK).read_bytes() == DATA


def test_a_digest_that_never_fits_is_an_error_after_three_attempts(server):
    server.plan = ['damaged'] * 9
    with pytest.raises(DownloadError):
        fetch(server.url, sha256=SHA256, timeouts=QUICK)
    assert len(server.plan) >= 9 - 3
    assert not {'net.safetensors', 'net.safetensors.json'} & set(files_of(server))


def test_without_a_network_the_way_out_is_told(server, monkeypatch):
    monkeypatch.setenv('GANFOUNDRY_OFFLINE', '1')
    with pytest.raises(DownloadError, match='give the path of the file'):
        fetch(server.url, timeouts=QUICK)
    assert server.seen == []


def test_a_file_that_is_there_needs_no_network(server, tmp_path):
    path = tmp_path / 'net.safetensors'
    path.write_bytes(DATA)
    for address in (str(path), path.as_uri()):
        assert fetch(address, sha256=SHA256) == path
    assert server.seen == []
