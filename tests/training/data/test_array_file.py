"""Arrays in .npy files: every order of bytes and axes, and files that are not images."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import DataError
from tests.support.pictures import data_refusal, write_zip
from tests.support.stored import noise
from training.data.array_file import read_header, read_pixels
from training.data.dataset import DataConfig, ImageDataset


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('fortran', [False, True])
def test_arrays_are_read_in_any_byte_order_and_memory_order(tmp_path, order, fortran):
    pixels = noise(0, (8, 12, 5), 16)  # [H, W, C]
    buffer = io.BytesIO()
    stored = pixels.astype(f'{order}u2')
    np.save(buffer, np.asfortranarray(stored) if fortran else stored)
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'a.zip', {'A.NPY': buffer.getvalue()})))
    assert dataset.image(0).dtype == np.uint16
    assert dataset.image(0).dtype.isnative
    assert np.array_equal(dataset.image(0), pixels.transpose(2, 0, 1))


def test_an_array_without_a_channel_axis_is_grey(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, noise(0, (8, 8), 8))
    dataset = ImageDataset(DataConfig(path=write_zip(tmp_path / 'a.zip', {'a.npy': buffer.getvalue()})))
    assert np.array_equal(dataset.image(0), noise(0, (8, 8), 8)[None])


def array(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


GOOD = array(np.zeros([8, 8, 3], np.uint8))


def with_header(header: str) -> bytes:
    """Returns a version 1.0 file of 192 zero bytes with this header."""
    text = header.encode('latin1')
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text + bytes(192)


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', 'a.npy: is empty'),
        (b'PK\x03\x04', 'a.npy: is not a NumPy array (.npy)'),
        (GOOD[:9], 'a.npy: cannot be read as a NumPy array ('),
        (GOOD[:-1], 'a.npy: is cut short or damaged (319 bytes; its header promises 320)'),
        (GOOD + b'x', 'a.npy: is cut short or damaged (321 bytes; its header promises 320)'),
        (GOOD.replace(b'\x01\x00', b'\x03\x00', 1), 'a.npy: cannot be read as a NumPy array (format 3.0)'),
        (array(np.zeros([8, 8, 3])), 'a.npy: holds float64; expected uint8 or uint16'),
        (array(np.zeros([8, 8, 3], np.int16)), 'a.npy: holds int16; expected uint8 or uint16'),
        (array(np.zeros([8, 8, 3], np.uint32)), 'a.npy: holds uint32; expected uint8 or uint16'),
        (array(np.zeros([8], np.uint8)), 'a.npy: has the shape [8]; expected [height, width, channels]'),
        (array(np.zeros([8, 8, 0], np.uint8)), 'a.npy: has the shape [8, 8, 0]; expected'),
        (array(np.zeros([2, 8, 8, 3], np.uint8)), 'a.npy: has the shape [2, 8, 8, 3]; expected'),
        (array(np.zeros([3, 64, 64], np.uint8)), 'a.npy: is 64x3; to train, both sides must be 4 to 64 pixels'),
        (with_header("{'descr': '|O', 'fortran_order': False, 'shape': (8, 8, 3)}"), 'a.npy: holds object; expected'),
        (
            with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (8, 8, 999999999999)}"),
            'is cut short or damaged',
        ),
        (
            with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (99999, 99999)}"),
            'a.npy: is 99999x99999; images of more than 67,108,864 pixels are refused',
        ),
        (with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-8, -8, 3)}"), 'has the shape [-8, -8, 3]'),
        (with_header('__import__("os").getcwd()'), 'a.npy: cannot be read as a NumPy array ('),
        (with_header('[' * 9000), 'a.npy: cannot be read as a NumPy array ('),
    ],
)
def test_arrays_that_are_no_images(tmp_path, data, message):
    assert message in data_refusal(DataError, write_zip(tmp_path / 'a.zip', {'a.npy': data}))


def test_a_pickled_array_is_refused_and_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self) -> tuple:
            return pytest.fail, ('unpickled',)

    buffer = io.BytesIO()
    np.save(buffer, np.array([[Bomb()]], dtype=object), allow_pickle=True)
    assert 'a.npy: holds object' in data_refusal(DataError, write_zip(tmp_path / 'a.zip', {'a.npy': buffer.getvalue()}))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(where=st.integers(0, 127), what=st.binary(min_size=1, max_size=6))
def test_a_damaged_array_header_reads_as_an_array_or_names_the_file(where, what):
    data = bytearray(GOOD)
    data[where : where + len(what)] = what
    try:
        header = read_header(bytes(data), 'a.npy')
        shape = read_pixels(header, bytes(data)).shape
        message = ''
    except DataError as error:
        message = str(error)
    assert message.startswith('a.npy: ') or shape == (header.channels, header.height, header.width)
