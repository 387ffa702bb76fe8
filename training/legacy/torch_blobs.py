"""PyTorch's tensors in pickles: handlers for `inert_pickle` that replace the functions in the file.

A file holds a storage as bytes for `torch.storage._load_from_bytes`, which is `torch.load` without any restriction: a
second program inside the first. Here the same inert machine reads such a blob. It has the format of PyTorch before 1.6:
five pickles (a magic number, the protocol 1001, the writer's system, the storage as a persistent id, the list of its
keys), the number of elements as int64, the elements.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided

from dnnlib.pickles.inert_pickle import Handlers, Limits, Ref, read_prefix

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_DIMS = 8
SLACK_BYTES = 16 * 2**20
_BLOB_LIMITS = Limits(opcodes=1000, objects=1000, text_bytes=10_000, depth=5, seconds=10)

# Storage class to NumPy's code and torch's dtype of the elements. NumPy has no bfloat16: its bits are read as uint16.
STORAGES = {
    'DoubleStorage': ('<f8', torch.float64),
    'FloatStorage': ('<f4', torch.float32),
    'HalfStorage': ('<f2', torch.float16),
    'BFloat16Storage': ('<u2', torch.bfloat16),
    'LongStorage': ('<i8', torch.int64),
    'IntStorage': ('<i4', torch.int32),
    'ShortStorage': ('<i2', torch.int16),
    'CharStorage': ('i1', torch.int8),
    'ByteStorage': ('u1', torch.uint8),
    'BoolStorage': ('?', torch.bool),
}
_BLOB_HANDLERS: Handlers = {('torch', name): None for name in STORAGES}
_DEVICE = re.compile(r'(cpu|cuda|mps|xpu)(:\d{1,3})?')  # device of the writer; the tensor is read to the CPU


@dataclass(frozen=True, slots=True)
class Storage:
    """The elements of a storage in the file, not copied."""

    kind: str  # key of STORAGES
    elements: np.ndarray  # [numel], read-only


@dataclass(frozen=True, slots=True)
class _Promise:
    """The description of a storage, which precedes its elements."""

    kind: str
    key: str
    numel: int


class TorchHandlers:
    """The handlers of one file."""

    def __init__(self, where: str, file_bytes: int) -> None:
        """Takes the name of the file in messages, and its size, which limits the memory of all tensors."""
        self.where = where
        self.bytes_left = file_bytes + SLACK_BYTES
        self.handlers: Handlers = {
            ('torch.storage', '_load_from_bytes'): self.storage,
            ('torch._utils', '_rebuild_tensor_v2'): self.tensor,
            ('torch._utils', '_rebuild_parameter'): parameter,
        }

    def storage(self, args: tuple[Any, ...]) -> Storage:
        """Handles _load_from_bytes(blob)."""
        match args:
            case (bytes(blob),):
                return read_storage(blob, f'{self.where}: a tensor')
        raise ValueError('expected the bytes of one storage')

    def tensor(self, args: tuple[Any, ...]) -> torch.Tensor:
        """Handles _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks); returns a copy."""
        match args:
            case (Storage() as storage, offset, tuple(size), tuple(stride), bool(), dict(hooks)) if not hooks:
                view = strided(storage.elements, offset, size, stride)
            case _:
                raise ValueError('expected a storage, an offset, a size, strides, a flag and no hooks')
        self.bytes_left -= view.nbytes
        if self.bytes_left < 0:
            raise ValueError('the tensors are larger than the file')
        tensor = torch.from_numpy(np.array(view, order='C'))
        return tensor.view(torch.bfloat16) if storage.kind == 'BFloat16Storage' else tensor


def parameter(args: tuple[Any, ...]) -> torch.Tensor:
    """Handles _rebuild_parameter(tensor, requires_grad, hooks)."""
    match args:
        case (torch.Tensor() as tensor, bool(), dict(hooks)) if not hooks:
            return tensor
    raise ValueError('expected a tensor, a flag and no hooks')


def strided(elements: np.ndarray, offset: Any, size: tuple[Any, ...], stride: tuple[Any, ...]) -> np.ndarray:
    """Returns a view of elements.

    Args:
        elements: Elements of a storage, [numel].
        offset: Index of the first element.
        size: Shape of the view.
        stride: Strides of the view in elements.

    Raises:
        ValueError: The view is empty, larger than the storage, or leads out of it.
    """
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > MAX_DIMS or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(
            f'offset {offset!a:.40}, size {size!a:.80}, strides {stride!a:.80}; expected sizes and strides'
        )
    numel, limit = math.prod(size), len(elements)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))  # element
    if numel == 0 or numel > limit or max(numbers) > limit or last >= limit:
        raise ValueError(f'offset {offset}, size {size}, strides {stride} lead out of a storage of {limit} elements')
    step = elements.itemsize
    return as_strided(elements[offset:], size, [s * step for s in stride], writeable=False)


def read_storage(blob: bytes, where: str) -> Storage:
    """Reads the storage in a blob. Raises UnsafeModelFile, or ValueError for a malformed one."""
    view, pos, found = memoryview(blob), 0, []
    for _ in range(5):
        value, used = read_prefix(view[pos:], _BLOB_HANDLERS, where=where, limits=_BLOB_LIMITS, persistent=_promise_of)
        found.append(value)
        pos += used
    magic, protocol, system, promise, keys = found
    if magic != MAGIC or protocol != PROTOCOL:
        raise ValueError('not a stream of torch.save before PyTorch 1.6')
    if type(system) is not dict or system.get('little_endian') is not True:
        raise ValueError('written on a big-endian machine')
    if type(promise) is not _Promise or keys != [promise.key]:
        raise ValueError('expected exactly one storage')
    code, _ = STORAGES[promise.kind]
    data = view[pos + 8 :]
    announced = int.from_bytes(view[pos : pos + 8], 'little', signed=True)
    if announced != promise.numel or len(data) != promise.numel * np.dtype(code).itemsize:
        raise ValueError(f'{len(data)} bytes for {promise.numel} elements of a {promise.kind}')
    if promise.kind == 'BoolStorage' and np.frombuffer(data, 'u1').max(initial=0) > 1:
        raise ValueError('a truth value that is neither 0 nor 1')
    return Storage(promise.kind, np.frombuffer(data, code))


def _promise_of(identity: Any) -> _Promise:
    """Handles the persistent id of a storage. Raises ValueError for any other."""
    match identity:
        case ('storage', Ref('torch', kind), str(key), str(device), numel, None):
            if type(numel) is not int or numel < 0:
                raise ValueError(f'{numel!a:.40} elements')
            if not _DEVICE.fullmatch(device):
                raise ValueError(f'a storage on {device!a:.40}; expected cpu or cuda')
            return _Promise(kind, key, numel)
    raise ValueError('a persistent id that is a view, or not a storage')
