"""The command line of explore.py: mistakes in one line, before anything is served, and a quiet end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import click
import numpy as np
import pytest

from dnnlib.errors import UserError
from ganfoundry import serving
from ganfoundry.commands import explore
from tests.conftest import ROOT

PEEPS = ROOT / 'examples' / 'networks' / 'peeps32.safetensors'


def refusal(*args: object) -> str:
    """Returns the message with which the command refuses its arguments."""
    with pytest.raises((UserError, click.UsageError)) as error:
        explore.main.main(['--port=0', '--device=cpu', *map(str, args)], standalone_mode=False)
    message = str(error.value) or error.value.format_message()
    assert '\n' not in message
    return message


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Runs in an empty folder, which stays empty."""
    monkeypatch.chdir(tmp_path)
    yield
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(serving, 'PACKAGES', ('starlette', 'no_such_package'))
    message = refusal(f'--network={PEEPS}')
    assert message.startswith('explore.py needs ')
    assert message.endswith('no_such_package: pip install "ganfoundry[serve]"')


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ([], 'Missing parameter: network'),
        (['--network=no.safetensors'], 'no.safetensors: no such file or folder'),
        ([f'--network={PEEPS}', '--compare=no.safetensors'], 'no.safetensors: no such file or folder'),
        ([f'--network={ROOT / "README.md"}'], 'README.md'),
        ([f'--network={PEEPS}', '--host=0.0.0.0'], '--host=0.0.0.0: other machines can reach this address'),
        ([f'--network={PEEPS}', '--latents=no.npz'], '--latents=no.npz: expected an .npz'),
        ([f'--network={PEEPS}', '--bookmarks=me.png'], '--bookmarks=me.png: expected FILE.npz, without a comma'),
        ([f'--network={PEEPS}', '--bookmarks=a,b.npz'], '--bookmarks=a,b.npz: expected FILE.npz, without a comma'),
        ([f'--network={PEEPS}', '--port=99999'], '99999'),
        ([f'--network={PEEPS}', '--precision=fp64'], 'fp64'),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_served(args, message):
    pytest.importorskip('starlette')
    pytest.importorskip('uvicorn')
    assert message in refusal(*args)


def test_a_taken_port_is_one_line():
    pytest.importorskip('starlette')
    pytest.importorskip('uvicorn')
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal(f'--network={PEEPS}', f'--port={port}').startswith(f'--port={port}: ')


def test_latents_of_another_network_are_refused(tmp_path_factory):
    pytest.importorskip('starlette')
    pytest.importorskip('uvicorn')
    path = tmp_path_factory.mktemp('other') / 'me.npz'
    np.savez(path, w=np.zeros([1, 3, 5], np.float32))
    assert f'--latents={path}: w is float32 [1, 3, 5]; this network takes' in refusal(
        f'--network={PEEPS}', f'--latents={path}'
    )


@pytest.mark.slow
def test_it_prints_its_address_draws_and_ends_quietly(tmp_path):
    pytest.importorskip('starlette')
    pytest.importorskip('uvicorn')
    args = [sys.executable, str(ROOT / 'explore.py'), f'--network={PEEPS}', '--port=0', '--device=cpu']
    with subprocess.Popen(args, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline()]
        while 'token=' not in lines[-1]:
            assert lines[-1], process.stderr.read()
            lines.append(process.stdout.readline())
        url = lines[-1].strip()
        assert re.fullmatch(r'http://127\.0\.0\.1:\d+/\?token=[\w-]+', url)
        assert process.stdout.readline().startswith('from another computer: ssh -N -L ')
        with urllib.request.urlopen(url.replace('/?', '/image?'), timeout=30) as response:
            assert response.read()[:4] == b'\x89PNG'
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, '')
    assert err.removeprefix('operations: native on cpu\n') == ''
