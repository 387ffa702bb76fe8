"""YAML of plain values, without a library: every text is quoted, so that no content changes its meaning."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

WORDS = ('y', 'n', 'yes', 'no', 'on', 'off', 'true', 'false', 'null')  # keys that YAML takes for other values


def to_yaml(value: dict[str, Any]) -> str:
    """Returns a mapping of texts, numbers, booleans, None, lists and mappings as YAML in block style."""
    return ''.join(f'{line}\n' for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _entry(f'{key if _is_plain(key) else quoted(key)}:', inner)
    elif isinstance(value, list) and value:
        for inner in value:
            first, *others = _lines(inner)
            yield f'- {first}'
            yield from (f'  {line}' for line in others)
    else:
        yield scalar(value)


def _entry(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield key
        yield from (f'  {line}' for line in _lines(value))
    else:
        yield f'{key} {scalar(value)}'


def _is_plain(key: str) -> bool:
    return re.fullmatch(r'[A-Za-z][A-Za-z0-9_-]*', key) is not None and key.lower() not in WORDS


def scalar(value: Any) -> str:
    """Returns one value: a quoted text, or a number, boolean, null or empty collection as in JSON."""
    if isinstance(value, float):
        return number(value)
    return quoted(value) if isinstance(value, str) else json.dumps(value, allow_nan=False)


def number(value: float) -> str:
    """Returns a finite float with a point and a signed exponent, as YAML 1.1 needs it to be a number: '1.0e-05'."""
    digits, mark, exponent = json.dumps(value, allow_nan=False).partition('e')
    return digits if not mark else f'{digits if "." in digits else f"{digits}.0"}e{exponent}'


def quoted(text: str) -> str:
    """Returns a text in double quotes. Characters that do not print are escaped; lone surrogates are replaced."""
    known = text.encode('utf-8', 'replace').decode()
    return '"' + ''.join(char if char.isprintable() and char not in '"\\' else _escape(char) for char in known) + '"'


def _escape(char: str) -> str:
    code = ord(char)
    return f'\\x{code:02x}' if code < 0x100 else f'\\u{code:04x}' if code < 0x10000 else f'\\U{code:08x}'
