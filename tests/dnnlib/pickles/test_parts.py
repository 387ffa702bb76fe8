"""Tests of the reader of bytes and of keys."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from dnnlib.pickles.parts import ByteSource, as_key


@pytest.mark.parametrize('wrap', [bytes, memoryview, io.BytesIO])
def test_bytes_are_read_forwards_and_never_beyond_the_end(wrap: Any) -> None:
    source = ByteSource(wrap(b'\x01\x02name\nrest'), limit=100)
    assert source.uint(2) == 0x0201
    assert source.line(10) == 'name'
    assert source.take(4) == b'rest'
    assert source.pos == source.size == 11
    with pytest.raises(ValueError, match='cut short: 1 bytes are announced, 0 are left'):
        source.take(1)


def test_a_source_above_the_limit_and_a_line_above_its_own_are_refused() -> None:
    with pytest.raises(ValueError, match='11 bytes, more than the 10'):
        ByteSource(b'x' * 11, limit=10)
    with pytest.raises(ValueError, match='a name of more than 3 characters'):
        ByteSource(b'name\n', limit=10).line(3)


@pytest.mark.parametrize('value', [None, 'a', b'a', True, 1.5, 7, -7])
def test_plain_keys_are_taken(value: Any) -> None:
    assert as_key(value) == value


@pytest.mark.parametrize('value', [(1,), sys.hash_info.modulus, -sys.hash_info.modulus, frozenset()])
def test_keys_that_could_collide_on_purpose_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match='as a key'):
        as_key(value)
