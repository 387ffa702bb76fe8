"""Downloads: complete or absent, cached, resumed, checked.

A cache entry is a folder of its own, CACHE/downloads/<digest of the address>/:
  NAME                   the file, under its name in the address
  NAME.json              address, size, sha256, ETag; written last, an entry without it does not count
  NAME.incomplete        the bytes received so far, which the next attempt continues
  NAME.incomplete.json   the version of these bytes; the server is asked for the rest of the same version

GANFOUNDRY_CACHE (or StyleGAN's DNNLIB_CACHE_DIR) moves the cache, GANFOUNDRY_OFFLINE=1 forbids the network. Both are
read at each call.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dnnlib.addresses import file_name, is_url, public_text, public_url
from dnnlib.errors import DownloadError
from dnnlib.files import TMP_MARK, fsync_path, sha256_of, write_json
from dnnlib.http_file import forget, read_json, receive, version_of
from dnnlib.http_request import Timeouts, TransientError
from dnnlib.log import format_bytes
from dnnlib.paths import user_path

CACHE_VARIABLES = ('GANFOUNDRY_CACHE', 'DNNLIB_CACHE_DIR')
OFFLINE_VARIABLE = 'GANFOUNDRY_OFFLINE'
ATTEMPTS = 3
HTML = re.compile(rb'\s*<(!doctype\s+html|html|head|!--)', re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A file of the cache; `path` is its final place."""

    url: str
    path: Path

    def beside(self, suffix: str) -> Path:
        """Returns the path of a companion."""
        return self.path.with_name(self.path.name + suffix)

    def holds(self, sha256: str | None) -> bool:
        """Returns whether the file is present, as recorded, and has the expected digest. Reads its bytes."""
        record = read_json(self.beside('.json')).values
        if not self.path.is_file() or self.path.stat().st_size != record.get('size'):
            return False
        digest = sha256_of(self.path)
        return digest == record.get('sha256') and sha256 in (None, digest)


def cache_folder() -> Path:
    """Returns the folder for downloads, unless a call names another one."""
    for name in CACHE_VARIABLES:
        if os.environ.get(name):
            return Path(user_path(os.environ[name]))
    try:
        return Path.home() / '.cache' / 'ganfoundry'
    except RuntimeError:
        raise DownloadError(f'this user has no home folder to keep downloads in; set {CACHE_VARIABLES[0]}') from None


def fetch(url: str, *, sha256: str | None = None, cache: Path | None = None, timeouts: Timeouts | None = None) -> Path:
    """Returns the local path of the file at an address, from the cache if possible.

    A file that is shorter than the server announced, is a web page, or has another digest does not enter the cache. If
    a server announces too small a size, only the digest reveals it. If two processes ask at once, one of them
    downloads.

    Args:
        url: An http(s) address. A path or file: address is returned as it is; its digest is checked, it is never
            deleted.
        sha256: Digest that the file must have, in hex; None accepts any file and records its digest.
        cache: Cache folder; None: `cache_folder()`.
        timeouts: Time limits in seconds; None: the defaults of `Timeouts`.

    Returns:
        The path of the complete file.

    Raises:
        DownloadError: If the download fails; the message names the address, the answer, and the way out.
    """
    sha256 = sha256.lower() if sha256 else None
    if not is_url(url):
        return _local(url, sha256)
    entry = _entry_of(url, cache or cache_folder())
    if entry.holds(sha256):
        return entry.path
    if os.environ.get(OFFLINE_VARIABLE, '0') not in ('', '0'):
        raise DownloadError(
            f'{public_url(url)}: not in the cache ({entry.path.parent}), and {OFFLINE_VARIABLE} forbids the network; '
            f'fetch it elsewhere and give the path of the file'
        )
    try:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        with _turn(entry) as partial:
            if not entry.holds(sha256):
                _download(entry, partial, sha256, timeouts or Timeouts())
    except OSError as error:
        raise DownloadError(
            f'{public_url(url)}: cannot be kept in {entry.path.parent}: {error.strerror or error}; make room, or name '
            f'another folder by {CACHE_VARIABLES[0]}'
        ) from None
    return entry.path


def _local(text: str, sha256: str | None) -> Path:
    """Returns the path of a file that needs no download."""
    if text.startswith('file:'):
        try:
            path = Path(url2pathname(urlsplit(text).path))
        except ValueError:
            raise DownloadError(f'{public_text(text)}: not a usable address; give the path') from None
    elif '://' in text:
        raise DownloadError(f'{public_text(text)}: expected an http(s) or file: address, or a path')
    else:
        path = Path(text)
    if sha256 is not None:
        if not path.is_file():
            raise DownloadError(f'{path}: no such file')
        if (digest := sha256_of(path)) != sha256:
            raise DownloadError(f'{path}: its sha256 is {digest}, {sha256} is expected; this is another file')
    return path


def _entry_of(url: str, cache: Path) -> _Entry:
    name = re.sub(r'[^A-Za-z0-9._-]', '_', file_name(url))[-100:].lstrip('.')
    digest = hashlib.sha256(url.encode(errors='surrogateescape')).hexdigest()[:16]
    return _Entry(url=url, path=cache / 'downloads' / digest / (name or 'file'))


@contextlib.contextmanager
def _turn(entry: _Entry) -> Iterator[Path]:
    """Waits until it is this process's turn and yields the partial file to write into.

    Without locks (Windows, some network file systems) each process writes a file of its own, and the last to finish
    wins.
    """
    with entry.beside('.lock').open('a') as file:
        if _locked(file):
            yield entry.beside('.incomplete')
            return
        own = entry.beside(f'{TMP_MARK}{os.getpid()}')
        try:
            yield own
        finally:
            forget(own)


def _locked(file: IO[str]) -> bool:
    """Waits for the lock, which the kernel frees whenever its holder dies. Returns False without locks."""
    try:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(file, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return False
    return True


def _download(entry: _Entry, partial: Path, sha256: str | None, timeouts: Timeouts) -> None:
    """Fills a cache entry, in several attempts if necessary."""
    shown = public_url(entry.url)
    for attempt in range(ATTEMPTS):
        try:
            etag = receive(entry.url, partial, certain=sha256 is not None, timeouts=timeouts)
            return _accept(entry, partial, sha256, etag)
        except TransientError as error:
            reason = str(error)
        if attempt + 1 < ATTEMPTS:
            time.sleep(timeouts.wait_s * 2**attempt)
    kept = ''
    if version_of(partial) and partial.is_file():
        kept = f'; {format_bytes(partial.stat().st_size)} are kept, the next attempt continues there'
    else:
        forget(partial)
    raise DownloadError(
        f'{shown}: failed {ATTEMPTS} times: {reason}{kept}; try again later, or give the path of a file'
    )


def _accept(entry: _Entry, partial: Path, sha256: str | None, etag: str | None) -> None:
    """Moves a complete file into the cache.

    Args:
        entry: The cache entry.
        partial: The downloaded file.
        sha256: Digest that it must have, in hex, or None.
        etag: The server's ETag, for the record.

    Raises:
        DownloadError: If it is a web page.
        TransientError: If it has another digest.
    """
    with partial.open('rb') as file:
        if HTML.match(file.read(4096)):
            forget(partial)
            raise DownloadError(f'{public_url(entry.url)}: the server sent a web page; give the address of the file')
    digest, size = sha256_of(partial), partial.stat().st_size
    if sha256 not in (None, digest):
        forget(partial)
        raise TransientError(f'the sha256 of the download is {digest}, expected {sha256}')
    fsync_path(partial)
    os.replace(partial, entry.path)
    write_json(entry.beside('.json'), {'url': public_url(entry.url), 'size': size, 'sha256': digest, 'etag': etag})
    forget(partial)
