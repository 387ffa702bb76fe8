"""Reader of the tensors of a TorchScript file as data, without reading its code.

Such a file is a zip of `data.pkl` (the tree of modules with their attributes), `data/KEY` (the bytes of each storage
that tensors are views of) and `code/` (the source for `torch.jit.load`). The pickle is read by
`dnnlib.pickles.inert_pickle`, which represents a class by its name, and `code/` is not opened.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dnnlib.errors import UserError
from dnnlib.pickles.inert_pickle import PLAIN_HANDLERS, Opaque, Ref, read_prefix
from dnnlib.regular_file import open_regular

_DTYPES = {
    'FloatStorage': torch.float32,
    'DoubleStorage': torch.float64,
    'HalfStorage': torch.float16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'BoolStorage': torch.bool,
}
MAX_TREE_BYTES = 64 << 20  # the pickle of the tree of modules
_MAX_DEPTH = 50  # modules within modules


class _Storage(NamedTuple):
    values: torch.Tensor  # [number of elements]


def read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """Returns every tensor of the module tree by its dotted name, in the file's order, on the CPU.

    Raises UserError, with the file's name, if it is no TorchScript, is damaged, or holds unexpected objects.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return dict(_tensors_of(_read_tree(archive, path), ''))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:  # UserError is a ValueError
        raise UserError(f'{path}: not a TorchScript file that can be read as data: {error}') from error


def _read_tree(archive: zipfile.ZipFile, path: Path) -> Any:
    pickles = [name for name in archive.namelist() if name.count('/') == 1 and name.endswith('/data.pkl')]
    if len(pickles) != 1:
        raise ValueError(f'expected one data.pkl, found {len(pickles)}')
    root = pickles[0].removesuffix('data.pkl')
    if f'{root}byteorder' in archive.namelist() and _read_stored(archive, f'{root}byteorder', 100) != b'little':
        raise ValueError('its numbers are not little-endian')
    storages: dict[str, _Storage] = {}

    def storage(reference: Any) -> _Storage:
        match reference:
            case ('storage', Ref('torch', kind), str(key), str(), int()) if kind in _DTYPES:
                if key not in storages:
                    storages[key] = _read_storage(archive, f'{root}data/{key}', _DTYPES[kind])
                return storages[key]
        raise ValueError(f'an unknown kind of storage: {reference!r}')

    handlers = {**PLAIN_HANDLERS, ('torch._utils', '_rebuild_tensor_v2'): _tensor}
    tree, _ = read_prefix(
        _read_stored(archive, pickles[0], MAX_TREE_BYTES), handlers, where=str(path), inert=True, persistent=storage
    )
    return tree


def _read_storage(archive: zipfile.ZipFile, name: str, dtype: torch.dtype) -> _Storage:
    data = bytearray(_read_stored(archive, name))
    return _Storage(torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype))


def _read_stored(archive: zipfile.ZipFile, name: str, limit: int | None = None) -> bytes:
    """Returns the bytes of an entry without compression: PyTorch compresses none, and a compressed one may be a bomb.

    Args:
        archive: The file.
        name: Name of the entry.
        limit: The most bytes that are read; None: the size of the file.
    """
    info = archive.getinfo(name)
    assert archive.fp is not None
    most = archive.fp.seek(0, io.SEEK_END) if limit is None else limit
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f'{name[:100]} is compressed')
    if info.file_size > most:
        raise ValueError(f'{name[:100]} states {info.file_size} bytes, more than {most}')
    return archive.read(info)


def _tensor(args: tuple[Any, ...]) -> torch.Tensor:
    """Returns the tensor of the arguments of `torch._utils._rebuild_tensor_v2`, in its own memory."""
    match args:
        case (_Storage(values), int(offset), tuple(shape), tuple(strides), bool(), *_):
            pass
        case _:
            raise ValueError('a tensor of an unknown form')
    if len(shape) != len(strides) or not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
        raise ValueError(f'a tensor of shape {shape} and strides {strides} at {offset}')
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > len(values) or (math.prod(shape) and last >= len(values)):
        raise ValueError(f'a tensor of shape {shape} reaches beyond its storage of {len(values)}')
    return torch.as_strided(values, shape, strides, offset).clone(memory_format=torch.contiguous_format)


def _tensors_of(node: Any, prefix: str, depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    if depth > _MAX_DEPTH:
        raise ValueError(f'modules nest deeper than {_MAX_DEPTH}')
    if not isinstance(node, Opaque) or not isinstance(node.state, dict):
        return
    for name, value in node.state.items():
        if isinstance(value, torch.Tensor):
            yield f'{prefix}{name}', value
        else:
            yield from _tensors_of(value, f'{prefix}{name}.', depth + 1)
