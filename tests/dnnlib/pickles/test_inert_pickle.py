"""Tests of reading pickles as data: plain containers are read as `pickle` reads them, everything else is rejected."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UnsafeModelFile
from dnnlib.pickles.inert_numpy import NUMPY_HANDLERS
from dnnlib.pickles.inert_pickle import Limits, Opaque, read_pickle, read_prefix

KEYS = st.one_of(st.text(max_size=5), st.integers(-(2**60), 2**60), st.binary(max_size=5), st.none())
SCALARS = st.one_of(KEYS, st.integers(-(2**120), 2**120), st.booleans(), st.floats(allow_nan=False))
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.tuples(inner),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
    ),
    max_leaves=20,
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(value=PLAIN, protocol=st.integers(2, 5))
def test_plain_containers_come_out_as_pickle_gives_them(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert read_pickle(data, where='x') == pickle.loads(data)
    assert read_pickle(io.BytesIO(data), where='x') == value
    assert read_prefix(data + b'rest', where='x') == (value, len(data))


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('dtype', ['?', 'u1', '<f4', '>f4', 'i8', 'f2'])
def test_numeric_arrays_come_out_bit_for_bit(protocol: int, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for value in (array, array.T, np.asfortranarray(array), array[:0], array[0, 0, 0]):
        read = read_pickle(pickle.dumps({'a': [value, value]}, protocol), NUMPY_HANDLERS, where='x')['a'][1]
        assert np.array_equal(read, value)
        if isinstance(value, np.ndarray):
            assert read.dtype == value.dtype
            assert not read.flags.writeable
        else:
            assert type(read) in (bool, int, float)


def test_python_2_text_comes_out_as_bytes() -> None:
    """Pickles like those of the CIFAR archives: protocol 2, cPickle, arrays of NumPy 1."""
    data = (
        b'\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x01K\x02eU\x04dataq\x04cnumpy.core.multiarray\n_reconstruct\nq\x05'
        b'cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07(K\x01K\x01K\x03\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87R'
        b'q\x09(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03abctbu.'
    )
    read = read_pickle(data, NUMPY_HANDLERS, where='x')
    assert read[b'labels'] == [1, 2]
    assert read[b'data'].tolist() == [[97, 98, 99]]


def test_an_inert_reading_names_what_it_does_not_know() -> None:
    value = read_pickle(b'\x80\x02cos\nsystem\nU\x04true\x85R.', where='x', inert=True)
    assert isinstance(value, Opaque)
    assert (str(value.ref), value.args) == ('os.system', (b'true',))
    with pytest.raises(UnsafeModelFile, match=r'x: byte 2, GLOBAL: the file asks for the global os\.system, which'):
        read_pickle(b'\x80\x02cos\nsystem\nU\x04true\x85R.', where='x')


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


def test_a_message_says_where_and_what_to_do() -> None:
    with pytest.raises(UnsafeModelFile) as caught:
        read_pickle(b'\x80\x04\x8c\x02os\x8c\x06sys\xc3\xa9m\x93.', where='net.pkl')
    assert str(caught.value) == (
        'net.pkl: byte 14, STACK_GLOBAL: the file asks for the global os.sys\\xe9m, which is not on the list; nothing '
        'of it was executed; take the file from its source again, or ask its author for safetensors'
    )


def test_every_name_in_a_message_is_an_opcode_of_the_format() -> None:
    from dnnlib.pickles.machine import ACTIONS

    known = {op.code.encode('latin-1')[0] for op in pickletools.opcodes}
    assert set(ACTIONS) < known
    refused = {op.name for op in pickletools.opcodes if op.code.encode('latin-1')[0] not in ACTIONS}
    assert {'INST', 'OBJ', 'EXT1', 'EXT4', 'PERSID', 'NEXT_BUFFER', 'NEWOBJ_EX', 'STRING', 'DUP', 'LONG4'} <= refused
