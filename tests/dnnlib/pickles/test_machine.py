"""Tests of the stack machine: its opcodes, and the limits that end a reading."""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import random
import time
import tracemalloc

import pytest

from dnnlib.errors import UnsafeModelFile
from dnnlib.pickles.inert_pickle import Limits, read_pickle
from dnnlib.pickles.machine import ACTIONS

BUDGETS = [
    ('file_bytes', 4096, b'\x80\x02' + b'N' * 5000 + b'.', 'more than the 4096 that are read'),
    ('opcodes', 4000, b'\x80\x02](' + b'N' * 9000 + b'e.', 'more than 4000 opcodes'),
    ('objects', 1000, b'\x80\x04](' + b'}' * 2000 + b'e.', 'more than 1000 objects'),
    ('text_bytes', 2048, b'\x80\x04](' + (b'X\xe8\x03\0\0' + b'a' * 1000) * 3 + b'e.', 'more than 2048 bytes of text'),
    ('int_bytes', 16, b'\x80\x04\x8a\x20' + b'\x01' * 32 + b'.', 'an integer of 32 bytes'),
    ('name_chars', 200, b'\x80\x02c' + b'a' * 500 + b'\nb\n.', 'a name of more than 200'),
    ('depth', 20, b'\x80\x02' + b']' * 50 + b'a' * 49 + b'.', 'containers nest deeper than 20'),
    ('depth', 20, b'\x80\x02)' + b'\x85' * 50 + b'.', 'containers nest deeper than 20'),
    ('depth', 20, b'\x80\x02' + b'(' * 50 + b't' * 50 + b'.', 'marks nest deeper than 20'),
]


@pytest.mark.parametrize(('limit', 'value', 'data', 'message'), BUDGETS)
def test_every_limit_ends_a_reading(limit: str, value: int, data: bytes, message: str) -> None:
    with pytest.raises(UnsafeModelFile, match=message):
        read_pickle(data, where='x', limits=Limits(**{limit: value}))


def test_the_clock_ends_a_reading() -> None:
    with pytest.raises(UnsafeModelFile, match='takes longer than 0 s'):
        read_pickle(b'\x80\x02](' + b'N' * 1000 + b'e.', where='x', limits=Limits(seconds=0))


def test_every_name_in_a_message_is_an_opcode_of_the_format() -> None:
    known = {op.code.encode('latin-1')[0] for op in pickletools.opcodes}
    assert set(ACTIONS) < known
    refused = {op.name for op in pickletools.opcodes if op.code.encode('latin-1')[0] not in ACTIONS}
    assert {'INST', 'OBJ', 'EXT1', 'EXT4', 'PERSID', 'NEXT_BUFFER', 'NEWOBJ_EX', 'STRING', 'DUP', 'LONG4'} <= refused


@pytest.mark.parametrize('push', [b'N', b')', b'\x88', b'K\x01', b'h\x00'])
def test_every_push_counts_whatever_it_pushes(push):
    """Millions of None, or of one object that is named again and again, cost a place each in the list of them."""
    data = b'\x80\x02Nq\x00(' + push * 3000 + b't.'
    with pytest.raises(UnsafeModelFile, match='more than 2000 values'):
        read_pickle(data, where='x', limits=Limits(pushes=2000))


def test_2000_mutations_of_a_pickle_are_read_or_refused_within_time_and_memory():
    draw = random.Random(6)
    value = {'a': [1, 2.0, None, True, 'text', b'bytes'], 'b': (1, (2, [])), 'c': {'x': {1, 2}}, 'd': 2**100}
    wholes = [pickle.dumps(value, protocol) for protocol in (2, 3, 4, 5)]
    begun = time.monotonic()
    tracemalloc.start()
    try:
        for _ in range(2000):
            data = bytearray(draw.choice(wholes))
            for _ in range(draw.randint(1, 5)):
                at = draw.randrange(len(data))
                data[at : at + draw.randint(0, 2)] = bytes(draw.choices(range(256), k=draw.randint(0, 3)))
            with contextlib.suppress(UnsafeModelFile):
                read_pickle(bytes(data), where='x', inert=draw.random() < 0.5)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - begun < 60
