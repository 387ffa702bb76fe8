"""Tests of texts that reach a terminal."""

import pytest

from dnnlib.printable import printable


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('\x1b[31mred\x1b[0m', '\\x1b[31mred\\x1b[0m'),
        ('\x9b2J', '\\x9b2J'),
        ('a\u202egpj.exe', 'a\\u202egpj.exe'),
        ('\u2066a\u2069', '\\u2066a\\u2069'),
        ('line\none\r', 'line\\none\\r'),
        ('name\udcff', 'name\\xff'),
        ('\ud800', '\\ud800'),
        ('\u2028', '\\u2028'),
        ('Äpfel 日本 👩‍👩‍👧.png', 'Äpfel 日本 👩‍👩‍👧.png'),
    ],
)
def test_what_a_terminal_would_obey_is_escaped_and_nothing_else(text, shown):
    assert printable(text) == shown
    shown.encode()


def test_line_breaks_stay_where_the_caller_keeps_them():
    assert printable('a\n\x07b', keep='\n') == 'a\n\\x07b'
