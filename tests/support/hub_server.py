"""A hub on loopback: it takes the requests with which huggingface_hub creates a repository and uploads a folder."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HubServer(ThreadingHTTPServer):
    """A hub. files: the committed files by name. large: uploaded contents by sha256. refuses: status of all answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.large: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.refuses: int | None = None

    @property
    def address(self) -> str:
        """The address of the hub."""
        return f'http://127.0.0.1:{self.server_port}'

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """Returns the answer to a request. Raises KeyError for a request that no upload makes."""
        if method == 'PUT':
            self.large[path.removeprefix('/put/')] = body
            return {}
        if path == '/api/repos/create':
            named = json.loads(body)
            return {'url': f'{self.address}/{named["organization"]}/{named["name"]}'}
        if path == '/api/validate-yaml':
            return {'errors': [], 'warnings': []}
        if '/preupload/' in path:
            names = [file['path'] for file in json.loads(body)['files']]
            modes = {name: 'lfs' if name.endswith(('.safetensors', '.onnx')) else 'regular' for name in names}
            return {'files': [{'path': k, 'uploadMode': mode, 'shouldIgnore': False} for k, mode in modes.items()]}
        if path.endswith('/info/lfs/objects/batch'):
            objects = json.loads(body)['objects']
            place = f'{self.address}/put'
            return {
                'transfer': 'basic',
                'objects': [{**o, 'actions': {'upload': {'href': f'{place}/{o["oid"]}'}}} for o in objects],
            }
        if '/commit/' in path:
            for line in body.splitlines():
                self._commit(json.loads(line))
            repo = path.removeprefix('/api/models').partition('/commit/')[0]
            return {'success': True, 'commitOid': 'a' * 40, 'commitUrl': f'{self.address}{repo}/commit/{"a" * 40}'}
        raise KeyError(path)

    def _commit(self, entry: dict[str, Any]) -> None:
        value = entry['value']
        if entry['key'] == 'file':
            self.files[value['path']] = base64.b64decode(value['content'])
        elif entry['key'] == 'lfsFile':
            self.files[value['path']] = self.large[value['oid']]


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def log_message(self, *args: Any) -> None:
        """Prints nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers['Content-Length']))
        if self.command == 'POST':
            self.server.tokens.add(self.headers['Authorization'])
        status = self.server.refuses or 200
        answer = {'error': 'no'} if self.server.refuses else self.server.answer(self.command, self.path, body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PUT = do_POST


@contextlib.contextmanager
def hub_server() -> Iterator[HubServer]:
    """Serves a hub until the end of the `with` block."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
