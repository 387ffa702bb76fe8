"""Addresses: distinguished from paths, and shown without their secrets.

A user name, a password, the query (signatures of storage services, tokens) and the fragment are secrets. They are used
for the request, and reach no record, message or log.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

# An address within a text: up to white space, a quotation mark or a closing bracket that the text puts around it.
# One slash and backslashes count, too: somebody who mistypes an address mistypes its password along with it.
_IN_TEXT = re.compile(r'\b([a-z][a-z0-9+.-]{1,30}):[/\\]{1,3}(?=[^\s/\\])([^\s\'"<>`]*)', re.IGNORECASE)
_BARE = re.compile(r'(?<![^\s=\'"(,/])[^\s/\\@:=\'"(,]+:[^\s/\\@\'"]+@(?=[\w.-]+[/:])')  # user:password@host/path


def is_url(text: str) -> bool:
    """Returns whether a text is an http(s) address rather than a path."""
    return text.lower().startswith(('http://', 'https://'))


def public_url(url: str) -> str:
    """Returns an address without user name, password, query and fragment, for records and messages.

    The password ends at the last @ before the path. If what precedes the path is no host and port, the @ of a password
    with a slash or a question mark in it comes later, and is looked for there. A text that is no address is unchanged.
    """
    scheme, mark, rest = url.partition('://')
    if not mark or not re.fullmatch(r'[A-Za-z][A-Za-z0-9+.-]*', scheme):
        return public_text(url)
    return f'{scheme}://{_public_rest(rest)}'


def public_text(text: str) -> str:
    """Returns a text in which every address is a public one, also a mistyped one: `http:/user:word@host`."""
    return _BARE.sub('', _IN_TEXT.sub(_public_match, text))


def _public_match(found: re.Match[str]) -> str:
    begun = found[0][: found.start(2) - found.start()]
    address, punctuation = re.fullmatch(r'(.*?)([),.;:!]*)', found[2], re.DOTALL).groups()  # type: ignore[union-attr]
    return begun + _public_rest(address) + punctuation


def public_word(word: str) -> str:
    """Returns a word of a command line, in which an address ends with the word: `--resume=http://host/a b?x`."""
    begun = re.search(r'\b[A-Za-z][A-Za-z0-9+.-]{1,30}://', word)
    return public_text(word) if begun is None else word[: begun.start()] + public_url(word[begun.start() :])


def file_name(url: str) -> str:
    """Returns the last part of an address's path, unquoted; empty if there is none."""
    return unquote(public_url(url).partition('://')[2].partition('/')[2]).rpartition('/')[2]


def _public_rest(rest: str) -> str:
    """Returns what follows the scheme of an address, without its secrets."""
    host = re.split(r'[/\\?#]', rest, maxsplit=1)[0]
    _, at, name = host.rpartition('@')
    if not at and not re.fullmatch(r'(\[[^\]]*\]|[^:]*)(:\d*)?', host):  # a colon, and no port: a part of a password
        _, at, later = rest.rpartition('@')
        return _public_rest(later) if at else host.partition(':')[0]
    return (name if at else host) + re.split(r'[?#]', rest[len(host) :], maxsplit=1)[0]
