"""Local servers: who may ask, what every answer carries, which port is taken, and how they end."""

from __future__ import annotations

import http.client
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.message import Message
from typing import NamedTuple

import pytest

from dnnlib.errors import ConfigError
from ganfoundry import serving
from ganfoundry.serving import CSP, Guard, LocalServer, ServingOptions, is_loopback, open_socket, token_of
from tests.conftest import ROOT

ANY_PORT = ServingOptions(port=0)


async def app(scope, receive, send):
    """Answers every request with its path; an answer of its own says how long it may be kept."""
    headers = [(b'content-type', b'text/plain')]
    if scope['path'] == '/kept':
        headers.append((b'cache-control', b'private, max-age=60'))
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    await send({'type': 'http.response.body', 'body': scope['path'].encode()})


class Answer(NamedTuple):
    """An answer to a request."""

    status: int
    headers: Message
    body: bytes


class Client:
    """Requests to a running server."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server

    def get(self, path: str, host: str | None = None) -> Answer:
        """Returns the answer to one request, with a Host header of the caller's choice."""
        connection = http.client.HTTPConnection('127.0.0.1', self.server.port, timeout=10)
        connection.request('GET', path, headers={} if host is None else {'Host': host})
        answer = connection.getresponse()
        found = Answer(answer.status, answer.headers, answer.read())
        connection.close()
        return found

    def status(self, path: str, host: str | None = None) -> int:
        """Returns the status of one request."""
        return self.get(path, host).status

    @property
    def token(self) -> str:
        """The query that is let in."""
        return f'token={self.server.token}'


@pytest.fixture(scope='module')
def client() -> Iterator[Client]:
    """A server in a thread of its own."""
    pytest.importorskip('uvicorn')
    pytest.importorskip('starlette')
    local = LocalServer('explore.py', ANY_PORT)
    server = local.uvicorn_server(local.guarded(app))
    thread = threading.Thread(target=server.run, kwargs={'sockets': [local.socket]})
    thread.start()
    yield Client(local)
    server.should_exit = True
    thread.join()
    local.close()


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages of the extra are there, on a machine without them, too: no test that asks for this serves."""
    monkeypatch.setattr(serving, 'check_packages', lambda command: None)


def test_only_the_token_opens_a_page(client: Client):
    assert client.status(f'/?{client.token}') == 200
    assert client.status(f'/image?seed=1&{client.token}') == 200
    for query in (
        '',
        'token=',
        'token=x',
        'token=%C3%A4',
        f'{client.token}x',
        f'{client.token}&token=x',
        f'a{client.token}',
    ):
        assert client.status(f'/?{query}') == 403, query
    answer = client.get('/?token=wrong')
    assert b'the address that the server has printed' in answer.body
    assert answer.headers['content-type'].startswith('text/plain')


def test_files_of_the_program_need_no_token_and_nothing_else_does(client: Client):
    assert client.status('/static/explore.js') == 200
    for path in ('/staticx', '/image', '//static/', '/Static/', '/api/static/'):
        assert client.status(path) == 403, path


def test_a_foreign_name_in_the_host_header_is_refused(client: Client):
    port = client.server.port
    for host in ('localhost', f'LOCALHOST:{port}', '127.0.0.1:9999', '[::1]:80', '192.168.1.7'):
        assert client.status(f'/?{client.token}', host) == 200, host
    for host in ('evil.example', f'evil.example:{port}', '127.0.0.1.evil.example', 'localhost.evil.example', ''):
        assert client.status(f'/?{client.token}', host) == 403, host
        assert client.status('/static/explore.js', host) == 403, host


def test_every_answer_carries_the_headers(client: Client):
    for path in (f'/?{client.token}', '/static/explore.js', '/?token=wrong'):
        headers = client.get(path).headers
        assert headers['content-security-policy'].startswith(CSP)
        assert "frame-ancestors 'none'" in headers['content-security-policy']
        assert headers['x-content-type-options'] == 'nosniff'
        assert headers['referrer-policy'] == 'no-referrer'
        assert headers['cache-control'] == 'no-store'
    assert client.get(f'/kept?{client.token}').headers['cache-control'] == 'private, max-age=60'


def test_a_server_that_others_can_reach_knows_its_own_name_and_no_other(monkeypatch):
    monkeypatch.setattr(serving.socket, 'gethostname', lambda: 'Node7')
    guard = Guard(app, token='t', host='0.0.0.0')
    assert guard.knows('node7:8080')
    assert guard.knows('10.0.0.7:8080')
    assert not guard.knows('evil.example')
    assert not Guard(app, token='t', host='127.0.0.1').knows('node7')


def test_the_address_names_the_port_and_the_token(packages, capsys):
    server = LocalServer('explore.py', ANY_PORT)
    server.announce()
    server.close()
    address, tunnel = capsys.readouterr().out.splitlines()
    assert address == f'http://127.0.0.1:{server.port}/?token={server.token}'
    assert f'ssh -N -L {server.port}:127.0.0.1:{server.port} ' in tunnel
    assert len(server.token) >= 32


def test_two_servers_have_two_tokens_unless_the_environment_gives_one(packages, monkeypatch):
    def token() -> str:
        server = LocalServer('explore.py', ANY_PORT)
        server.close()
        return server.token

    assert token() != token()
    monkeypatch.setenv('GANFOUNDRY_TOKEN', 'sixteen-letters-')
    assert token() == 'sixteen-letters-'
    for easy in ('short', 'with a space in it', 'a' * 15):
        monkeypatch.setenv('GANFOUNDRY_TOKEN', easy)
        with pytest.raises(ConfigError, match='at least 16 characters') as error:
            token()
        assert easy not in str(error.value)


def test_a_taken_port_is_an_error_and_the_default_one_moves_on(packages, monkeypatch):
    first = LocalServer('explore.py', ANY_PORT)
    with pytest.raises(ConfigError, match=f'--port={first.port}: Address already in use; --port=0 takes any free one'):
        LocalServer('explore.py', ServingOptions(port=first.port))
    monkeypatch.setattr(serving, 'DEFAULT_PORT', first.port)
    second = LocalServer('explore.py', ServingOptions())
    assert first.port < second.port < first.port + serving.NUM_PORTS
    monkeypatch.setattr(serving, 'NUM_PORTS', 1)
    with pytest.raises(ConfigError, match='are taken; --port=0'):
        LocalServer('explore.py', ServingOptions())
    first.close()
    second.close()


def test_other_machines_need_allow_remote_and_it_warns(packages, capsys):
    for host in ('0.0.0.0', '::', '192.168.1.7', 'node7', ''):
        assert not is_loopback(host)
        with pytest.raises(ConfigError, match='add --allow-remote'):
            LocalServer('explore.py', ServingOptions(host=host, port=0))
    assert all(map(is_loopback, ('127.0.0.1', '127.1.2.3', '::1', 'localhost')))
    server = LocalServer('explore.py', ServingOptions(host='0.0.0.0', port=0, allow_remote=True))
    server.announce()
    server.close()
    assert 'WARNING: --allow-remote' in capsys.readouterr().err


def test_an_address_of_another_machine_is_an_error(packages):
    for host in ('192.0.2.1', 'no-such-host.invalid'):
        with pytest.raises(ConfigError, match=f'--host={host}: no address of this machine'):
            LocalServer('explore.py', ServingOptions(host=host, port=0, allow_remote=True))


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'uvicorn' else find_spec(name))
    with pytest.raises(ConfigError, match=re.escape('explore.py needs uvicorn')) as error:
        serving.check_packages('explore.py')
    assert 'pip install "ganfoundry[serve]"' in str(error.value)


def test_a_query_without_exactly_one_token_has_none():
    assert token_of(b'a=1&token=x&b=2') == b'x'
    for query in (b'', b'token', b'token=', b'token=x&token=x', b'Token=x', b'&&&='):
        assert token_of(query) == b'', query


@pytest.mark.slow
def test_ctrl_c_ends_it_quietly_with_code_130():
    pytest.importorskip('uvicorn')
    pytest.importorskip('starlette')
    code = (
        'from dnnlib.command import run_command; from ganfoundry.serving import LocalServer, ServingOptions; '
        'from tests.ganfoundry.test_serving import app; '
        's = LocalServer("x", ServingOptions(port=0)); run_command(lambda: s.run(s.guarded(app)))'
    )
    args = [sys.executable, '-c', code]
    with subprocess.Popen(args, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address, tunnel = process.stdout.readline(), process.stdout.readline()
        port = int(re.search(r':(\d+)/', address)[1])
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
        connection.request('GET', '/static/')
        assert connection.getresponse().read() == b'/static/'  # and the connection stays open
        began = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        connection.close()
    assert process.returncode == 130
    assert (out, err) == ('', '')
    assert tunnel.startswith('from another computer: ssh -N -L ')
    assert time.monotonic() - began < 15


def test_answers_do_not_wait_for_receipts():
    """Connections inherit the setting of the listening socket; without it, each picture of a drag waits 40 ms."""
    with open_socket(ServingOptions(port=0)) as listening:
        with socket.create_connection(listening.getsockname()) as client:
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
                assert client.fileno() != accepted.fileno()
