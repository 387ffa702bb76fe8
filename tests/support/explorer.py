"""A running explorer for tests, in a thread of this process."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple

from ganfoundry.explore.renderer import Renderer
from ganfoundry.explore.studio import Studio
from ganfoundry.serving import LocalServer, ServingOptions


class Answer(NamedTuple):
    """An answer to a request."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Served:
    """An explorer that answers until `close`."""

    def __init__(self, studio: Studio, port: int = 0) -> None:
        from ganfoundry.explore.server import Explorer

        self.renderer = Renderer(lambda: studio)
        self.local = LocalServer('explore.py', ServingOptions(port=port))
        self._server = self.local.uvicorn_server(self.local.guarded(Explorer(self.renderer).app()))
        self._thread = threading.Thread(target=self._server.run, kwargs={'sockets': [self.local.socket]})
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the page."""
        return self.local.url

    def ask(self, path: str, query: str = '', views: Sequence[str] | bytes | None = None, **headers: str) -> Answer:
        """Returns the answer to a request with the token; with views, to a POST of them, or of these bytes."""
        url = f'http://127.0.0.1:{self.local.port}{path}?token={self.local.token}&{query}'
        data = views if views is None or isinstance(views, bytes) else json.dumps({'views': views}).encode()
        request = urllib.request.Request(url, data, {name.replace('_', '-'): text for name, text in headers.items()})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def close(self) -> None:
        """Ends the server and its thread."""
        self._server.should_exit = True
        self._thread.join()
        self.local.close()
        self.renderer.close()
