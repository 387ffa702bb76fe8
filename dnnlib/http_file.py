"""One request for a file: it continues a partial file and rejects answers that are not the file.

A partial file has a companion, NAME.json, with the version (a strong ETag, else the date) of its bytes: the server is
asked for the rest of that version, and sends the whole file if it has another.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import requests

from dnnlib.addresses import file_name, public_url
from dnnlib.errors import DownloadError, RecordError
from dnnlib.files import remove, write_json
from dnnlib.http_request import Timeouts, TransientError, chunks, request
from dnnlib.log import Log, format_bytes
from dnnlib.printable import printable
from dnnlib.records import Record, read_record

BUSY = (408, 425, 429, 500, 502, 503, 504)  # HTTP states that are temporary
MAX_UNKNOWN = 20 * 10**9  # bytes of a file whose size the server does not state
RESERVE = 10**9  # bytes that such a file leaves on the disk
CHECK_EVERY = 64 << 20  # bytes between two looks at the free space
_SIZE = re.compile(r'[0-9]{1,18}')
_VERSION = re.compile(r'[\x20-\x7e]{1,1000}')


class Version(NamedTuple):
    """The version of the bytes of a partial file: a strong ETag or a date, and the size of the whole file."""

    mark: str
    total: int | None


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
    version = version_of(partial)
    begun = partial.stat().st_size if version and partial.is_file() else 0
    headers = {'Accept-Encoding': 'identity'}
    if version and begun:
        headers |= {'Range': f'bytes={begun}-', 'If-Range': version.mark}
    with request(url, headers, timeouts) as answer:
        if answer.status_code == 416:  # the part may be as long as the file, or longer: begin again
            forget(partial)
        _check(answer)
        if answer.status_code == 206:
            total: int | None = _total_of_part(answer, partial, begun, version)
        else:
            total = _total_of_whole(answer, certain)
            begun = 0
            _begin(answer, partial, total)
        if total is not None and shutil.disk_usage(partial.parent).free < total - begun:
            if not begun:
                forget(partial)
            raise OSError(f'{format_bytes(total - begun)} are needed, the disk has less space')
        try:
            size = _write(answer, partial, begun, total, timeouts)
        except (OSError, DownloadError):  # a file that a full disk has cut is useless
            forget(partial)
            raise
    if total is not None and size > total:
        forget(partial)
        raise TransientError(f'the server sent more than the {total} bytes that it announced')
    if total is not None and size != total:
        raise TransientError(f'received {size} bytes of {total}')
    etag = answer.headers.get('ETag', '')
    return etag if _VERSION.fullmatch(etag) else None


def _write(answer: requests.Response, partial: Path, begun: int, total: int | None, timeouts: Timeouts) -> int:
    """Writes the body of an answer and returns the size of the file, which is too large after an excess.

    Args:
        answer: The answer.
        partial: The file, to which it is appended if `begun` is not 0.
        begun: Size of the file before, in bytes.
        total: Size of the whole file, in bytes; None if it is unknown, which limits it.
        timeouts: Time limits in seconds.
    """
    size, checked = begun, begun - CHECK_EVERY
    with partial.open('ab' if begun else 'wb') as file, _progress(answer.url, begun, total) as show:
        for chunk in chunks(answer, timeouts):
            size += len(chunk)
            if total is not None and size > total:
                break
            if total is None and size > MAX_UNKNOWN:
                raise DownloadError(
                    f'{public_url(answer.url)}: over {format_bytes(MAX_UNKNOWN)}, and the server states no size; '
                    'download it by hand, and give its path'
                )
            if total is None and size - checked >= CHECK_EVERY:
                checked = size
                if shutil.disk_usage(partial.parent).free < RESERVE:
                    raise OSError(f'less than {format_bytes(RESERVE)} are left on the disk')
            file.write(chunk)
            show(len(chunk))
    return size


def _check(answer: requests.Response) -> None:
    """Rejects an answer that is neither the file nor a part of it."""
    shown, status = public_url(answer.url), answer.status_code
    reason = f'HTTP {status} {printable((answer.reason or "")[:40])}'
    if status in BUSY or status == 416:
        raise TransientError(reason)
    if status not in (200, 206):
        raise DownloadError(f'{shown}: {reason}; check the address')
    if 'html' in answer.headers.get('Content-Type', '').lower():
        raise DownloadError(f'{shown}: the server sent a web page; give the address of the file itself')
    if (coding := answer.headers.get('Content-Encoding', 'identity')) != 'identity':
        raise DownloadError(f'{shown}: compressed by the server ({printable(coding[:80])}) without a request')


def _total_of_part(answer: requests.Response, partial: Path, begun: int, version: Version | None) -> int:
    """Returns the size of the whole file. Forgets the partial file unless the answer continues this version of it.

    Args:
        answer: The answer, of status 206.
        partial: The partial file.
        begun: Size of the partial file in bytes.
        version: Version of its bytes.

    Raises:
        TransientError: If the answer continues another version, or begins elsewhere.
    """
    part = re.fullmatch(r'bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})', answer.headers.get('Content-Range', ''))
    mark, total = _mark(answer), int(part[2]) if part else None
    if not begun or version is None or part is None or int(part[1]) != begun:
        reason = 'the server sent a different part than requested'
    elif mark != version.mark or version.total not in (None, total):
        reason = 'the server has another version of the file now'
    else:
        return int(part[2])
    forget(partial)
    raise TransientError(reason)


def _total_of_whole(answer: requests.Response, certain: bool) -> int | None:
    """Returns the size of a file that is sent whole; None if it is not stated, and the end is noticed all the same."""
    length = answer.headers.get('Content-Length', '')
    chunked = 'chunked' in answer.headers.get('Transfer-Encoding', '').lower()  # its end is marked
    if _SIZE.fullmatch(length) and not chunked:
        return int(length)
    if not (chunked or certain):
        raise DownloadError(
            f'{public_url(answer.url)}: the server states no size, so a cut would go unnoticed; download it by hand'
        )
    return None


def _begin(answer: requests.Response, partial: Path, total: int | None) -> None:
    """Records the version of the bytes to come. The old bytes go first: a version never belongs to other bytes."""
    forget(partial)
    if mark := _mark(answer):
        write_json(version_file(partial), {'version': mark, 'total': total})


def _mark(answer: requests.Response) -> str | None:
    """Returns the strong ETag of an answer, else its date; None if there is neither."""
    etag = answer.headers.get('ETag', 'W/')
    mark = answer.headers.get('Last-Modified', '') if etag.startswith('W/') else etag
    return mark if _VERSION.fullmatch(mark) else None


def version_of(partial: Path) -> Version | None:
    """Returns the version of a partial file's bytes; None if it cannot be continued."""
    record = read_json(version_file(partial))
    try:
        total = record.whole('total') if record.values.get('total') is not None else None
        mark = record.text('version')
    except RecordError:
        return None
    return Version(mark, total) if _VERSION.fullmatch(mark) else None


@contextlib.contextmanager
def _progress(url: str, begun: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes the bytes of each chunk and redraws a bar if stderr is a terminal."""
    log, name = Log(), printable(file_name(url))
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


def read_json(path: Path) -> Record:
    """Returns a small record; without fields if it is absent or damaged."""
    try:
        return read_record(path)
    except RecordError:
        return Record({}, printable(str(path)))
