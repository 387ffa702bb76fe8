"""Tests of reading pickles as data: plain containers are read as `pickle` reads them, everything else is rejected."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import UnsafeModelFile
from dnnlib.pickles.inert_pickle import Opaque, read_pickle, read_prefix

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


def test_an_inert_reading_names_what_it_does_not_know() -> None:
    value = read_pickle(b'\x80\x02cos\nsystem\nU\x04true\x85R.', where='x', inert=True)
    assert isinstance(value, Opaque)
    assert (str(value.ref), value.args) == ('os.system', (b'true',))
    with pytest.raises(UnsafeModelFile, match=r'x: byte 2, GLOBAL: the file asks for the global os\.system, which'):
        read_pickle(b'\x80\x02cos\nsystem\nU\x04true\x85R.', where='x')


def test_a_message_says_where_and_what_to_do() -> None:
    with pytest.raises(UnsafeModelFile) as caught:
        read_pickle(b'\x80\x04\x8c\x02os\x8c\x06sys\xc3\xa9m\x93.', where='net.pkl')
    assert str(caught.value) == (
        'net.pkl: byte 14, STACK_GLOBAL: the file asks for the global os.sys\\xe9m, which is not on the list; nothing '
        'of it was executed; take the file from its source again, or ask its author for safetensors'
    )
