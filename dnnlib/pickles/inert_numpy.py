"""Handlers of `inert_pickle` for the arrays and scalars of NumPy.

Numeric dtypes only. Arrays are read-only views of the bytes in the file: nothing is copied, so a file cannot name the
same bytes repeatedly to fill the memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dnnlib.pickles.inert_pickle import PLAIN_HANDLERS, Handlers, Pending, Ref

_CODES = frozenset(('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8'))
_MAX_DIMS = 8


def _text(value: Any) -> Any:
    """Returns a code as str; Python 2 wrote bytes."""
    return value.decode('ascii') if type(value) is bytes else value


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


class _DType(Pending):
    def __init__(self, code: str) -> None:
        self.code = code

    def build(self, state: Any) -> np.dtype[Any]:
        """Builds the dtype from (version 3, byte order, sub-array, names, fields, item size, alignment, flags)."""
        order = _text(state[1]) if type(state) is tuple and len(state) == 8 else None
        if order not in ('<', '>', '|', '=') or any(part is not None for part in state[2:5]):
            raise ValueError('a dtype with fields or of an unknown form; expected plain numbers')
        dtype: np.dtype[Any] = np.dtype(order + self.code)
        return dtype


def _dtype(args: tuple[Any, ...]) -> _DType:
    code = _text(args[0]) if args else None
    if type(code) is not str or code not in _CODES or len(args) != 3:
        raise ValueError(f'dtype {ascii(code)[:40]}; expected one of {", ".join(sorted(_CODES))}')
    return _DType(code)


class _Array(Pending):
    def build(self, state: Any) -> np.ndarray:
        """Builds the array from (version 1, shape, dtype, Fortran order, bytes)."""
        match state:
            case (1, tuple(shape), np.dtype() as dtype, bool(fortran), bytes(data)):
                return _view(data, dtype, shape, 'F' if fortran else 'C')
        raise ValueError('an array of an unknown form; expected a shape, a dtype and bytes')


def _view(data: bytes, dtype: np.dtype, shape: tuple[Any, ...], order: Any) -> np.ndarray:
    """Returns the bytes as an array.

    Args:
        data: Bytes of all elements.
        dtype: Type of an element.
        shape: Shape of the array, unchecked.
        order: 'C' or 'F'.

    Returns:
        A read-only view of the bytes.

    Raises:
        ValueError: If the shape is invalid or does not take exactly these bytes.
    """
    if not all(map(_is_size, shape)) or len(shape) > _MAX_DIMS:
        raise ValueError(f'shape {ascii(shape)[:80]}; expected at most {_MAX_DIMS} sizes')
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f'{len(data)} bytes for an array of shape {list(shape)} and {dtype}')
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _reconstruct(args: tuple[Any, ...]) -> _Array:
    match args:
        case (Ref('numpy', 'ndarray'), (0,), b'b' | 'b'):
            return _Array()
    raise ValueError('an array of an unknown class')


def _frombuffer(args: tuple[Any, ...]) -> np.ndarray:
    match args:
        case (bytes(data), np.dtype() as dtype, tuple(shape), ('C' | 'F') as order):
            return _view(data, dtype, shape, order)
    raise ValueError('an array of an unknown form; expected bytes, a dtype, a shape and an order')


def _scalar(args: tuple[Any, ...]) -> int | float | bool:
    match args:
        case (np.dtype() as dtype, bytes(data)) if len(data) == dtype.itemsize:
            number: int | float | bool = np.frombuffer(data, dtype)[0].item()
            return number
    raise ValueError('expected a dtype and as many bytes')


# The modules are numpy.core until NumPy 1.26, numpy._core from 2.0.
NUMPY_HANDLERS: Handlers = {
    **PLAIN_HANDLERS,
    ('numpy', 'ndarray'): None,
    ('numpy', 'dtype'): _dtype,
    **{
        (f'numpy.{core}.{module}', name): handler
        for core in ('core', '_core')
        for module, name, handler in (
            ('multiarray', '_reconstruct', _reconstruct),
            ('multiarray', 'scalar', _scalar),
            ('numeric', '_frombuffer', _frombuffer),  # protocol 5
        )
    },
}
