"""One request for a file: it continues a partial file and rejects answers that are not the file.

A partial file has a companion, NAME.json, with the version (a strong ETag, else the date) of its bytes: the server is
asked for the rest of that version, and sends the whole file if it has another.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from dnnlib.errors import DownloadError
from dnnlib.files import remove, write_json
from dnnlib.log import Log, format_bytes

CHUNK = 1 << 16  # bytes; a broken connection loses at most so many
BUSY = (408, 425, 429, 500, 502, 503, 504)  # HTTP states that are temporary


class TransientError(Exception):
    """A failure worth retrying; the message says what happened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """Seconds to connect, of silence while reading, and before the second attempt (doubled before the third)."""

    connect_s: float = 10
    read_s: float = 60
    wait_s: float = 1


def is_url(text: str) -> bool:
    """Returns whether a text is an http(s) address rather than a path."""
    return text.lower().startswith(('http://', 'https://'))


def public_url(url: str) -> str:
    """Returns the address without user name and password, for records and messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition('@')[2]))


def receive(url: str, partial: Path, *, certain: bool, timeouts: Timeouts) -> str | None:
    """Makes one request that completes the partial file.

    Args:
        url: The http(s) address.
        partial: The partial file; it and its companion may be absent.
        certain: Whether a digest will show that the file is complete if the server states no size.
        timeouts: Time limits in seconds.

    Returns:
        The server's ETag; None without one.

    Raises:
        TransientError: If another attempt may succeed.
        DownloadError: If the answer is not the file.
        OSError: If the disk lacks space.
    """
    version = read_json(version_file(partial)).get('version')
    begun = partial.stat().st_size if version and partial.is_file() else 0
    headers = {'Accept-Encoding': 'identity'}
    if begun:
        headers |= {'Range': f'bytes={begun}-', 'If-Range': str(version)}
    with requests.get(url, headers=headers, stream=True, timeout=(timeouts.connect_s, timeouts.read_s)) as answer:
        total = _check(answer, partial, begun, certain)
        etag = answer.headers.get('ETag')
        if answer.status_code == 200:
            begun = 0
            forget(partial)  # first: the version never belongs to other bytes
            strong = None if etag is None or etag.startswith('W/') else etag
            write_json(version_file(partial), {'version': strong or answer.headers.get('Last-Modified')})
        if total is not None and shutil.disk_usage(partial.parent).free < total - begun:
            raise OSError(f'{format_bytes(total - begun)} are needed, the disk has less space')
        with partial.open('ab' if begun else 'wb') as file, _progress(url, begun, total) as show:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                show(len(chunk))
    size = partial.stat().st_size
    if total is not None and size != total:
        if size > total:
            forget(partial)
        raise TransientError(f'received {size} bytes of {total}')
    return etag


def _check(answer: requests.Response, partial: Path, begun: int, certain: bool) -> int | None:
    """Returns the size of the whole file, None if the server states none. Rejects an answer that is not the file."""
    shown, status = public_url(answer.url), answer.status_code
    if answer.history and answer.history[0].url.startswith('https:') and answer.url.startswith('http:'):
        raise DownloadError(f'{shown}: redirected from https to http; give the address of the file itself')
    if status in BUSY:
        raise TransientError(f'HTTP {status} {answer.reason}')
    if status == 416 or (status == 206 and not begun):
        forget(partial)
        raise TransientError(f'HTTP {status}: the server does not know the requested part')
    if status not in (200, 206):
        raise DownloadError(f'{shown}: HTTP {status} {answer.reason}; check the address')
    if 'html' in answer.headers.get('Content-Type', '').lower():
        raise DownloadError(f'{shown}: the server sent a web page; give the address of the file itself')
    if answer.headers.get('Content-Encoding', 'identity') != 'identity':
        raise DownloadError(
            f'{shown}: compressed by the server ({answer.headers["Content-Encoding"]}) without a request'
        )
    if status == 206:
        part = re.fullmatch(r'bytes (\d+)-\d+/(\d+)', answer.headers.get('Content-Range', ''))
        if part is None or int(part[1]) != begun:
            forget(partial)
            raise TransientError('the server sent a different part than requested')
        return int(part[2])
    length = answer.headers.get('Content-Length', '')
    chunked = 'chunked' in answer.headers.get('Transfer-Encoding', '').lower()  # its end is marked
    if not (length.isdecimal() or chunked or certain):
        raise DownloadError(f'{shown}: the server states no size, so a cut would go unnoticed; download it by hand')
    return int(length) if length.isdecimal() else None


@contextlib.contextmanager
def _progress(url: str, begun: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes the bytes of each chunk and redraws a bar if stderr is a terminal."""
    log, name = Log(), urlsplit(url).path.rpartition('/')[2]
    start, drawn, came = time.monotonic(), 0.0, 0

    def show(num_bytes: int) -> None:
        nonlocal drawn, came
        came += num_bytes
        if (now := time.monotonic()) - drawn > 0.2:
            drawn = now
            share = f' of {format_bytes(total)}' if total else ''
            log.bar(f'{name}: {format_bytes(begun + came)}{share}, {format_bytes(came / max(now - start, 0.1))}/s')

    try:
        yield show
    finally:
        log.clear_bar()


def version_file(partial: Path) -> Path:
    """Returns the path of the companion of a partial file."""
    return partial.with_name(partial.name + '.json')


def forget(partial: Path) -> None:
    """Removes a partial file and its companion."""
    remove(partial)
    remove(version_file(partial))


def read_json(path: Path) -> dict[str, Any]:
    """Returns the contents of a small record; empty if it is absent or damaged."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
