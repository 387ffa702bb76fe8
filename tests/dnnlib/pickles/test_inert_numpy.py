"""Tests of NumPy arrays in pickles that are read as data."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dnnlib.pickles.inert_numpy import NUMPY_HANDLERS
from dnnlib.pickles.inert_pickle import read_pickle


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
