"""Local web servers of commands: one port, one token, and a guard in front of the application.

A page of another site that is open in the same browser can send requests to a port of this machine. Three checks keep
it out: a token that only the printed address holds, the Host header, which names the attacker's domain after DNS
rebinding, and a Content-Security-Policy, so that the own page loads nothing from elsewhere.
"""

from __future__ import annotations

import errno
import hmac
import importlib.util
import ipaddress
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from dnnlib.errors import ConfigError
from dnnlib.log import print_note

if TYPE_CHECKING:
    import uvicorn

PACKAGES = ('starlette', 'uvicorn')
DEFAULT_PORT = 8080
NUM_PORTS = 20  # ports that are tried without --port
TOKEN_VARIABLE = 'GANFOUNDRY_TOKEN'
CSP = "default-src 'self'; img-src 'self' blob:"
NOWHERE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # directives without a default-src
INTERRUPTED = 128 + signal.SIGINT

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingOptions:
    """Options of a command that serves.

    Attributes:
        host: Address to listen on.
        port: Port; 0 for any free one, None for 8080 or the next free one.
        allow_remote: Whether other machines may connect.
    """

    host: str = '127.0.0.1'
    port: int | None = None
    allow_remote: bool = False


class LocalServer:
    """Server of one command, which holds its port from the beginning.

    Attributes:
        token: Token of this server, random unless GANFOUNDRY_TOKEN gives it.
        port: Port that it listens on.
    """

    def __init__(self, command: str, options: ServingOptions) -> None:
        """Checks the options and opens the port, before the command starts other work.

        Args:
            command: Name of the command, for messages.
            options: Where to listen.

        Raises:
            ConfigError: If a package is missing, if the port is taken, or if a host other than loopback lacks
                --allow-remote.
        """
        check_packages(command)
        check_host(options)
        self.token = chosen_token()
        self._host = options.host
        self._socket = open_socket(options)
        self._server: uvicorn.Server | None = None
        self.port: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        host = self._host
        if host in ('0.0.0.0', '::', ''):
            host = socket.gethostname()
        return f'http://{f"[{host}]" if ":" in host else host}:{self.port}/?token={quote(self.token)}'

    def announce(self) -> None:
        """Prints the address, and the ssh line for another computer or a warning."""
        print(self.url, flush=True)
        if is_loopback(self._host):
            host = f'[{self._host}]' if ':' in self._host else self._host
            there = f'{self.port}:{host}:{self.port} {socket.gethostname()}'
            print(f'from another computer: ssh -N -L {there}', flush=True)
        else:
            print_note(
                f'WARNING: --allow-remote: everyone who can reach {self._host} port {self.port} and has the token can '
                'use this server, and the token crosses the network unencrypted; ssh -L is safer'
            )

    def guarded(self, app: App, *, open_paths: Sequence[str] = ('/static/',), csp: str = CSP) -> Guard:
        """Returns an application behind the checks of this server.

        Args:
            app: An ASGI application.
            open_paths: Beginnings of paths that need no token, because they hold the program's own files only.
            csp: Content-Security-Policy of every response.
        """
        return Guard(app, token=self.token, host=self._host, open_paths=open_paths, csp=csp)

    def uvicorn_server(self, app: App) -> uvicorn.Server:
        """Returns the server of an application, quiet, for a caller that runs it in a thread of its own."""
        import uvicorn

        config = uvicorn.Config(
            app,
            log_level='error',
            access_log=False,
            loop='asyncio',
            http='h11',
            ws='none',
            lifespan='off',
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        return self._server

    def run(self, app: App) -> None:
        """Prints the address and serves a guarded application until Ctrl-C, after which it exits with the code 130."""
        self.announce()
        try:
            self.uvicorn_server(app).run(sockets=[self._socket])
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        finally:
            self.close()

    @property
    def is_stopping(self) -> bool:
        """Whether the server was asked to end: responses without an end of their own must end then."""
        return self._server is not None and self._server.should_exit

    @property
    def socket(self) -> socket.socket:
        """The socket that listens, for `uvicorn.Server.run(sockets=[...])`."""
        return self._socket

    def close(self) -> None:
        """Gives the port back."""
        self._socket.close()


class Guard:
    """ASGI middleware: checks Host and token of every request, and adds the security headers to every response."""

    def __init__(self, app: App, *, token: str, host: str, open_paths: Sequence[str] = (), csp: str = CSP) -> None:
        """Notes the application and what it is guarded by.

        Args:
            app: An ASGI application.
            token: The token that requests must have, as `?token=`.
            host: Address that the server listens on.
            open_paths: Beginnings of paths that need no token.
            csp: Content-Security-Policy of every response.
        """
        self._app, self._token, self._open_paths = app, token.encode(), tuple(open_paths)
        self._names = {'localhost', host.lower()}
        if not is_loopback(host):
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._headers = [(name.encode(), value.encode()) for name, value in security_headers(csp).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope['type'] == 'http'  # `uvicorn_server` has neither websockets nor lifespan events

        async def send_guarded(message: Message) -> None:
            if message['type'] == 'http.response.start':
                own = {name.lower() for name, _ in message.get('headers', ())}
                added = [(name, value) for name, value in self._headers if name not in own]
                message = {**message, 'headers': [*message.get('headers', ()), *added]}
            await send(message)

        if (problem := self.problem(scope)) is not None:
            await refuse(send_guarded, problem)
        else:
            await self._app(scope, receive, send_guarded)

    def problem(self, scope: Scope) -> str | None:
        """Returns why a request is refused, None if it is not."""
        hosts = [value.decode('latin-1') for name, value in scope['headers'] if name == b'host']
        if len(hosts) != 1 or not self.knows(hosts[0]):
            return 'This server does not have the name in the Host header. Open the address that it has printed.'
        if scope['path'].startswith(self._open_paths):
            return None
        if not hmac.compare_digest(token_of(scope['query_string']), self._token):
            return 'The token is missing or wrong. Open the address that the server has printed.'
        return None

    def knows(self, host: str) -> bool:
        """Whether a Host header names this machine: by an IP address, which no DNS can rebind, or by a known name."""
        name = re.sub(r':\d{1,5}$', '', host).lower()
        try:
            ipaddress.ip_address(name.removeprefix('[').removesuffix(']'))
        except ValueError:
            return name in self._names
        return True


def token_of(query: bytes) -> bytes:
    """Returns the token of a query string, empty unless there is exactly one."""
    tokens = [value for name, value in parse_qsl(query.decode('latin-1')) if name == 'token']
    return tokens[0].encode() if len(tokens) == 1 else b''


def security_headers(csp: str) -> Mapping[str, str]:
    """Returns the headers of every response; csp: its Content-Security-Policy."""
    return {
        'content-security-policy': f'{csp}; {NOWHERE}',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',  # the address holds the token
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
        'cache-control': 'no-store',
    }


async def refuse(send: Send, text: str) -> None:
    """Answers a request with 403 and a sentence."""
    body = f'{text}\n'.encode()
    headers = [(b'content-type', b'text/plain; charset=utf-8'), (b'content-length', str(len(body)).encode())]
    await send({'type': 'http.response.start', 'status': 403, 'headers': headers})
    await send({'type': 'http.response.body', 'body': body})


def check_packages(command: str) -> None:
    """Raises ConfigError with the pip line if a package of the extra `serve` is missing. command: for the message."""
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise ConfigError(f'{command} needs {" and ".join(missing)}: pip install "ganfoundry[serve]"')


def check_host(options: ServingOptions) -> None:
    """Refuses an address that other machines can reach, unless --allow-remote is given."""
    if not options.allow_remote and not is_loopback(options.host):
        raise ConfigError(
            f'--host={options.host}: other machines can reach this address; add --allow-remote, or keep 127.0.0.1 and '
            'connect by ssh -L'
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == 'localhost'


def chosen_token() -> str:
    """Returns the token of GANFOUNDRY_TOKEN, or a random one. Raises ConfigError if the given one is easy to guess."""
    if not (token := os.environ.get(TOKEN_VARIABLE, '')):
        return secrets.token_urlsafe(24)
    if not re.fullmatch(r'[A-Za-z0-9_.~-]{16,}', token):
        raise ConfigError(f'{TOKEN_VARIABLE}: expected at least 16 characters, each a letter, a digit or one of _.~-')
    return token


def open_socket(options: ServingOptions) -> socket.socket:
    """Returns a socket that listens.

    Raises:
        ConfigError: If the port is taken or the address is none of this machine.
    """
    first = DEFAULT_PORT if options.port is None else options.port
    ports = range(first, first + NUM_PORTS) if options.port is None else [first]
    family = socket.AF_INET6 if ':' in options.host else socket.AF_INET
    for port in ports:
        try:
            listening = socket.create_server((options.host, port), family=family, backlog=128)
            # Connections inherit it. Otherwise the body of an answer waits 40 ms for the receipt of its headers.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return listening
        except OSError as error:
            # create_server adds the address to the text of an error number.
            reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise ConfigError(f'--host={options.host}: no address of this machine ({reason})') from None
    if options.port is None:
        raise ConfigError(f'the ports {first} to {ports[-1]} are taken; --port=0 takes any free one')
    raise ConfigError(f'--port={first}: {reason}; --port=0 takes any free one')
