"""Names and texts of others as a terminal can show them."""

from __future__ import annotations

import re

# Control characters of ASCII and Latin-1, which move the cursor or recolor the terminal; marks that reverse the
# direction of writing; line and paragraph separators; surrogates, which cannot be encoded.
_UNPRINTABLE = re.compile('[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]')


def printable(text: str, keep: str = '') -> str:
    r"""Returns a text in which characters that a terminal would obey or could not encode are escaped: `\x1b`, `\u202e`.

    A byte of a file name that is not UTF-8 becomes `\xff`. Characters in `keep`, such as line breaks, are unchanged.
    """
    return _UNPRINTABLE.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), text)


def _escaped(char: str) -> str:
    if '\udc80' <= char <= '\udcff':  # a byte, as os.fsdecode stores it
        return f'\\x{ord(char) - 0xDC00:02x}'
    return char.encode('unicode_escape', 'surrogatepass').decode('ascii')
