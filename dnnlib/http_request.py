"""One GET request: redirects within http(s), bounded waits, and failures in words without the secrets of addresses."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3

from dnnlib.addresses import public_url
from dnnlib.errors import DownloadError
from dnnlib.printable import printable

CHUNK = 1 << 16  # bytes; a broken connection loses at most so many
MAX_REDIRECTS = 10
MIN_RATE = 1000  # bytes per second, over `Timeouts.slow_s`


class TransientError(Exception):
    """A failure worth retrying; the message says what happened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """Time limits in seconds.

    Attributes:
        connect_s: to connect.
        read_s: of silence while reading.
        slow_s: of reading at less than MIN_RATE; also from connecting to the end of the answer's header.
        wait_s: before the second attempt, doubled before the third.
    """

    connect_s: float = 10
    read_s: float = 60
    slow_s: float = 120
    wait_s: float = 1


class _Session(requests.Session):
    """A session that reports no redirect to requests, which would read its whole body and decompress it."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Returns None."""
        return None


@contextlib.contextmanager
def request(url: str, headers: dict[str, str], timeouts: Timeouts) -> Iterator[requests.Response]:
    """Yields the answer to a GET request, with its body unread, after redirects.

    Args:
        url: The http(s) address.
        headers: Headers of the request.
        timeouts: Time limits.

    Raises:
        TransientError: If another attempt may succeed.
        DownloadError: If the address cannot be used, or redirects leave http(s).
    """
    with _Session() as session:
        for _ in range(MAX_REDIRECTS + 1):
            with _get(session, url, headers, timeouts) as answer:  # the body of a redirect is never read
                target = requests.Session.get_redirect_target(session, answer)
                if target is None:
                    yield answer
                    return
                url = _redirected(session, url, target)
    raise DownloadError(f'{public_url(url)}: more than {MAX_REDIRECTS} redirects; give the address of the file itself')


def _get(session: requests.Session, url: str, headers: dict[str, str], timeouts: Timeouts) -> requests.Response:
    """Returns the answer to one request. The limits of requests apply to each packet, so a thread bounds their sum."""
    made: list[requests.Response | Exception] = []

    def run() -> None:
        try:
            limits = (timeouts.connect_s, timeouts.read_s)
            made.append(session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=limits))
        except Exception as error:
            made.append(error)

    thread = threading.Thread(target=run, name='http request', daemon=True)
    thread.start()
    thread.join(max(timeouts.slow_s, timeouts.connect_s + timeouts.read_s))
    result = made[0] if made else TransientError('the server does not finish its answer')
    if isinstance(result, requests.Response):
        return result
    if isinstance(result, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)) or not isinstance(
        result, (requests.RequestException, TransientError, OSError)
    ):  # ValueError, LocationParseError, UnicodeError: each part of an address has an error of its own
        raise DownloadError(f'{public_url(url)}: not a usable address; expected https://host/path of a file')
    raise TransientError(_words(result, timeouts)) from None


def _redirected(session: requests.Session, url: str, target: str) -> str:
    """Returns the address that a redirect leads to, with the password of the first one if the server is the same."""
    try:
        new = urljoin(url, target)
        old_parts, parts = urlsplit(url), urlsplit(new)
        same = not session.should_strip_auth(url, new)
    except ValueError:
        raise DownloadError(f'{public_url(url)}: redirected to an unusable address; give the one of the file') from None
    if parts.scheme not in ('http', 'https'):
        raise DownloadError(
            f'{public_url(url)}: redirected to {printable(parts.scheme[:20])}:; give an http(s) address of the file'
        )
    if old_parts.scheme == 'https' and parts.scheme == 'http':
        raise DownloadError(f'{public_url(url)}: redirected from https to http; give the address of the file itself')
    secret, at, _ = old_parts.netloc.rpartition('@')
    if same and at and '@' not in parts.netloc:
        new = urlunsplit(parts._replace(netloc=f'{secret}@{parts.netloc}'))
    return new


def chunks(answer: requests.Response, timeouts: Timeouts) -> Iterator[bytes]:
    """Yields the body of an answer as it arrives. Raises TransientError if it breaks off, or comes too slowly."""
    begun, came = time.monotonic(), 0
    while True:
        try:
            chunk = answer.raw.read1(CHUNK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise TransientError(_words(error, timeouts)) from None
        if not chunk:
            return
        yield chunk
        came += len(chunk)
        if (now := time.monotonic()) - begun >= timeouts.slow_s:
            if came < MIN_RATE * (now - begun):
                raise TransientError(f'the server sends less than {MIN_RATE} bytes per second')
            begun, came = now, 0


def _words(error: Exception, timeouts: Timeouts) -> str:
    """Returns what happened, without the address, which the texts of requests quote with its query."""
    if isinstance(error, TransientError):
        return str(error)
    if isinstance(error, (requests.exceptions.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError)):
        return f'no connection within {timeouts.connect_s:g} s'
    if isinstance(error, (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)):
        return f'the server was silent for {timeouts.read_s:g} s'
    if isinstance(error, urllib3.exceptions.IncompleteRead):
        return 'the connection broke off'
    reason = _system_reason(error)
    return f'no connection ({printable(reason)})' if reason else f'the connection failed ({type(error).__name__})'


def _system_reason(error: BaseException) -> str | None:
    """Returns the words of the operating system within the causes of an error."""
    causes, seen = [error], 0
    while causes and seen < 20:
        cause, seen = causes.pop(0), seen + 1
        if isinstance(cause, OSError) and cause.strerror:
            return str(getattr(cause, 'verify_message', '') or cause.strerror)
        found = [*cause.args, getattr(cause, 'reason', None), cause.__cause__, cause.__context__]
        causes += [other for other in found if isinstance(other, BaseException)]
    return None
