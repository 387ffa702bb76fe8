"""Promise R15: whatever a server does, a file in the cache is complete."""

import contextlib
import hashlib
import json
import random
import resource
import subprocess
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from dnnlib import http_file, http_request
from dnnlib.download import fetch
from dnnlib.errors import DownloadError
from dnnlib.http_request import Timeouts
from tests.conftest import ROOT
from tests.support.download_server import DATA, SHA256, Handler

QUICK = Timeouts(connect_s=2, read_s=0.3, slow_s=0.5, wait_s=0.01)


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server of one file, with an empty folder as the cache."""
    monkeypatch.setenv('GANFOUNDRY_CACHE', str(tmp_path / 'cache'))
    monkeypatch.delenv('GANFOUNDRY_OFFLINE', raising=False)
    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.plan, server.seen, server.data, server.etag, server.elsewhere = [], [], DATA, '"v1"', ''
        server.sent = 0
        server.url = f'http://127.0.0.1:{server.server_port}/nets/net.safetensors?v=1'
        server.cache = tmp_path / 'cache'
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def files_of(server):
    """Returns the files in the cache except locks."""
    return sorted(path.name for path in server.cache.rglob('*') if path.is_file() and path.suffix != '.lock')


def refusal(server, **kwargs):
    """Returns the message of a fetch that fails; checks that nothing of it has entered the cache."""
    with pytest.raises(DownloadError) as error:
        fetch(server.url, timeouts=QUICK, **kwargs)
    assert 'net.safetensors' not in files_of(server)
    assert 'net.safetensors.json' not in files_of(server)
    return str(error.value)


def test_a_file_is_fetched_once_and_its_digest_recorded(server):
    path = fetch(server.url, timeouts=QUICK)
    assert path.read_bytes() == DATA
    assert path.name == 'net.safetensors'
    record = json.loads(path.with_name('net.safetensors.json').read_text())
    assert record == {'url': server.url.partition('?')[0], 'size': len(DATA), 'sha256': SHA256, 'etag': '"v1"'}
    assert fetch(server.url, sha256=SHA256.upper(), timeouts=QUICK) == path
    assert server.seen == [None]
    assert files_of(server) == ['net.safetensors', 'net.safetensors.json']


@pytest.mark.parametrize('trouble', ['cut', 'stall'])
def test_a_broken_download_goes_on_where_it_broke(server, trouble):
    server.plan = [trouble]
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    begun = int(server.seen[1].removeprefix('bytes=').removesuffix('-'))
    assert 0 < begun <= len(DATA) // 2


@pytest.mark.parametrize('trouble', ['fail', 'no_version', 'chunked_cut'])
def test_a_failure_that_passes_is_tried_again_from_the_start(server, trouble):
    server.plan = [trouble]
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    assert server.seen == [None, None]


def test_three_failures_are_an_error_and_the_next_call_goes_on(server):
    server.plan = ['cut', 'fail', 'cut']
    message = refusal(server)
    assert 'failed 3 times' in message
    assert 'are kept, the next attempt continues there' in message
    assert len(server.seen) == 3
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    assert int(server.seen[3].removeprefix('bytes=').removesuffix('-')) > len(DATA) // 2


def test_the_rest_of_another_version_is_not_appended(server):
    server.plan = ['cut', 'gone']
    with pytest.raises(DownloadError):
        fetch(server.url, timeouts=QUICK)
    server.data, server.etag = DATA[::-1], '"v2"'
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA[::-1]


def test_a_part_that_was_not_asked_for_is_thrown_away(server):
    server.plan = ['cut', 'wrong_part']
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    assert server.seen[2] is None


@pytest.mark.parametrize(
    'answer', ['rest_of_another_version', 'rest_without_a_version', 'rest_of_another_size', 'not_satisfiable']
)
def test_a_rest_that_may_be_of_another_version_is_never_joined_to_the_part(server, answer):
    server.plan = ['cut', answer]
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    assert server.seen[2] is None  # begun again


@pytest.mark.parametrize('first', ['cut', 'stall'])
def test_a_server_that_sends_more_than_it_announced_is_stopped_there(server, first, monkeypatch):
    server.plan = [first, 'beyond']
    written, plain = [], http_file._write
    monkeypatch.setattr(http_file, '_write', lambda *args: written.append(plain(*args)) or written[-1])
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    assert len(DATA) < max(written) <= len(DATA) + http_request.CHUNK


def test_a_file_of_unknown_size_is_limited_and_leaves_room_on_the_disk(server, monkeypatch):
    monkeypatch.setattr(http_file, 'MAX_UNKNOWN', 10_000)
    server.plan = ['chunked']
    assert 'the server states no size; download it by hand' in refusal(server)
    assert files_of(server) == []
    monkeypatch.setattr(http_file, 'MAX_UNKNOWN', 1 << 40)
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=http_file.RESERVE - 1))
    server.plan = ['chunked']
    assert 'are left on the disk' in refusal(server)
    assert files_of(server) == []


@pytest.mark.parametrize('answer', ['drip', 'drip_of_headers'])
def test_a_server_that_sends_byte_by_byte_is_given_up(server, answer, monkeypatch):
    monkeypatch.setattr('dnnlib.download.ATTEMPTS', 1)
    server.plan, begun = [answer], time.monotonic()
    message = refusal(server)
    assert 'less than 1000 bytes per second' in message or 'does not finish its answer' in message
    assert time.monotonic() - begun < 10


def test_the_body_of_a_redirect_is_not_read(server):
    server.plan = ['redirect_with_a_body']
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    assert server.sent < 64 << 20


def test_redirects_without_an_end_are_refused(server):
    server.plan = ['loop']
    assert 'more than 10 redirects' in refusal(server)


@pytest.mark.parametrize('answer', ['huge_length', 'odd_headers'])
def test_headers_are_not_believed_and_not_shown_raw(server, answer, capsys):
    server.plan = [answer]
    path = fetch(server.url, timeouts=QUICK, sha256=SHA256)
    assert path.read_bytes() == DATA
    assert '\x1b' not in path.with_name('net.safetensors.json').read_text()


def test_a_failure_says_why_in_one_short_line_with_the_address_once(server):
    url = f'http://me:PW9@127.0.0.1:{server.server_port}/a.pkl?sig=PW9'
    server.shutdown()
    server.socket.close()
    with pytest.raises(DownloadError) as caught:
        fetch(url, timeouts=QUICK)
    message = str(caught.value)
    assert 'Connection refused' in message
    assert 'PW9' not in message
    assert message.count('127.0.0.1') == 1
    assert len(message) < 240


def test_what_cannot_be_continued_does_not_stay(server):
    server.plan = ['no_version'] * 3
    assert 'kept' not in refusal(server)
    assert files_of(server) == []


@pytest.mark.parametrize(
    'url',
    [
        'http://user:PW9@/x',
        'http://user:PW9@127.0.0.1:99999/x',
        'ftp://user:PW9@127.0.0.1/x',
        'http://user:PW9@[::bad/x',
        'http://user:PW9/x@127.0.0.1:0x/y',
        'http://u:PW9@.example/x',
        'http://u:PW9@h\x00st/x',
        'http://u:PW9@' + 'h' * 300 + '/x',
        'file://[::u:PW9@/x',
        'https://user:PW9@\udcff/x',
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(server, url):
    with pytest.raises(DownloadError) as caught:
        fetch(url, timeouts=QUICK)
    assert 'PW9' not in str(caught.value)
    assert 'PW9' not in ''.join(map(str, server.cache.rglob('*')))


# http.client leaves sockets of answers that it cannot parse to the garbage collector.
@pytest.mark.filterwarnings('ignore::ResourceWarning', 'ignore::pytest.PytestUnraisableExceptionWarning')
def test_400_mutations_of_an_answer_give_the_file_or_our_error(server, monkeypatch):
    """Random status lines, headers and bodies; only our own error comes out, and only the file goes in."""
    draw = random.Random(5)
    lines = [b'HTTP/1.0 200 OK', b'HTTP/1.1 206 Partial', b'HTTP/1.0 999 \xff', b'HTTP/2 200', b'', b'HTTP/1.0 302 x']
    fields = [b'Content-Length: 4', b'Content-Length: -1', b'Content-Length: 1e9', b'Content-Range: bytes 0-3/4',
              b'Content-Range: bytes 2-/', b'ETag: "\xff"', b'ETag: W/', b'Location: http://[', b'Location: //\x01',
              b'Location: file:///', b'Transfer-Encoding: chunked', b'Content-Encoding: gzip', b'\x00: \x00',
              b'A' * 70000, b'Content-Type: text/html', b'Content-Length: 4\r\nContent-Length: 5',
              b'Set-Cookie: a=\xff']  # fmt: skip
    bodies = [b'', b'data', b'4\r\ndata\r\n0\r\n\r\n', b'zz\r\n', b'fffffffffff\r\nx', b'\x1f\x8b\x08' + b'x' * 50]

    def raw(self):
        made = [draw.choice(lines), *draw.sample(fields, draw.randint(0, 4)), b'', draw.choice(bodies)]
        with contextlib.suppress(OSError):
            self.wfile.write(b'\r\n'.join(made))

    monkeypatch.setattr(Handler, 'raw', raw, raising=False)
    monkeypatch.setattr('dnnlib.download.ATTEMPTS', 1)
    quick = Timeouts(connect_s=1, read_s=1, slow_s=2, wait_s=0)
    for i in range(400):
        server.plan = ['raw'] * 12
        with contextlib.suppress(DownloadError):
            path = fetch(f'{server.url}{i}', timeouts=quick)
            assert path.stat().st_size <= 4


@pytest.mark.parametrize(
    ('answer', 'message'),
    [
        ('html', 'the server sent a web page'),
        ('html_in_disguise', 'the server sent a web page'),
        ('gone', 'HTTP 404 Not Found; check the address'),
        ('no_length', 'the server states no size'),
        ('packed', 'compressed by the server (gzip)'),
    ],
)
def test_what_is_no_file_is_refused_at_once(server, answer, message):
    server.plan = [answer]
    assert message in refusal(server)
    assert len(server.seen) == 1


def test_a_size_that_is_not_stated_is_not_needed_where_the_end_is_marked(server):
    server.plan = ['chunked']
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    assert len(server.seen) == 1


def test_a_size_that_is_not_stated_is_replaced_by_the_digest(server):
    server.plan = ['no_length']
    assert fetch(server.url, sha256=SHA256, timeouts=QUICK).read_bytes() == DATA


def test_a_size_that_is_too_small_is_found_out_by_the_digest(server):
    server.plan = ['too_short']
    assert fetch(server.url, sha256=SHA256, timeouts=QUICK).read_bytes() == DATA


def test_a_wrong_digest_is_deleted_tried_again_and_told(server):
    server.plan = ['damaged']
    assert fetch(server.url, sha256=SHA256, timeouts=QUICK).read_bytes() == DATA
    assert server.seen == [None, None]
    server.url += '2'
    server.cache = server.cache / 'nothing'
    server.plan = ['damaged'] * 3
    message = refusal(server, sha256=SHA256)
    assert hashlib.sha256(DATA[:-1] + b'!').hexdigest() in message
    assert f'expected {SHA256}' in message


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(server):
    path = fetch(server.url, timeouts=QUICK)
    path.write_bytes(DATA[:-1] + b'!')
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    path.with_name('net.safetensors.json').write_text('{"size"')
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    assert len(server.seen) == 3


def test_redirects_lead_to_http_alone(server):
    server.plan, server.elsewhere = ['elsewhere'], '/there/net.bin'
    assert fetch(server.url, timeouts=QUICK).name == 'net.safetensors'
    for server.elsewhere in ('file:///etc/hostname', 'ftp://127.0.0.1/net'):
        server.plan, server.url = ['elsewhere'], server.url + '1'
        with pytest.raises(DownloadError, match='give an http'):
            fetch(server.url, timeouts=QUICK)


def test_offline_takes_what_the_cache_has_and_asks_nobody(server, monkeypatch):
    monkeypatch.setenv('GANFOUNDRY_OFFLINE', '1')
    assert 'GANFOUNDRY_OFFLINE forbids the network' in refusal(server)
    assert server.seen == []
    monkeypatch.setenv('GANFOUNDRY_OFFLINE', '0')
    path = fetch(server.url, timeouts=QUICK)
    monkeypatch.setenv('GANFOUNDRY_OFFLINE', '1')
    assert fetch(server.url) == path


def test_the_cache_is_where_the_environment_says(server, monkeypatch, tmp_path):
    monkeypatch.delenv('GANFOUNDRY_CACHE')
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'stylegan'))
    assert tmp_path / 'stylegan' in fetch(server.url, timeouts=QUICK).parents
    monkeypatch.delenv('DNNLIB_CACHE_DIR')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    assert tmp_path / 'home' / '.cache' / 'ganfoundry' in fetch(server.url, timeouts=QUICK).parents
    assert tmp_path / 'named' in fetch(server.url, cache=tmp_path / 'named', timeouts=QUICK).parents


def test_a_path_passes_through_and_is_never_deleted(tmp_path):
    path = tmp_path / 'a file.bin'
    path.write_bytes(DATA)
    assert fetch(str(path)) == fetch(path.as_uri(), sha256=SHA256) == path
    with pytest.raises(DownloadError, match=f'its sha256 is {SHA256}, {"0" * 64} is expected'):
        fetch(str(path), sha256='0' * 64)
    assert path.read_bytes() == DATA
    with pytest.raises(DownloadError, match=r'ftp://host/x: expected an http\(s\) or file: address, or a path'):
        fetch('ftp://host/x')


def test_a_full_disk_leaves_nothing_half_made(server):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(DATA) // 2, limits[1]))
    try:
        message = refusal(server)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert 'cannot be kept in' in message
    assert 'name another folder by GANFOUNDRY_CACHE' in message
    assert files_of(server) == []


def test_a_disk_with_too_little_room_is_not_written_to(server, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=len(DATA) - 1))
    assert 'are needed, the disk has less' in refusal(server)
    assert files_of(server) == []


@pytest.mark.slow
def test_two_processes_at_once_download_once(server):
    server.plan = ['slow']
    code = f'from dnnlib.download import fetch; print(fetch({server.url!r}))'
    calls = [
        subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    paths = [Path(call.communicate(timeout=60)[0].strip()) for call in calls]
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == DATA
    assert server.seen == [None]


def test_without_locks_each_process_writes_its_own(server, monkeypatch):
    monkeypatch.setattr('dnnlib.download._locked', lambda file: False)
    assert fetch(server.url, timeouts=QUICK).read_bytes() == DATA
    assert files_of(server) == ['net.safetensors', 'net.safetensors.json']
