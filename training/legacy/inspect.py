"""Outline of any pickle as text: classes by name, tensors by shape, values. No name is resolved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnnlib.pickles.inert_pickle import Opaque, Ref
from training.legacy.module import Module
from training.legacy.reader import TFNetwork, read_network_pickle
from training.legacy.torch_blobs import Storage

MAX_LINES = 5000
MAX_DEPTH = 24
MAX_CHARS = 160  # per value


def inspect(path: Path) -> Iterator[str]:
    """Yields the contents as an indented outline, one line per value. Raises UnsafeModelFile if it cannot be parsed."""
    value = read_network_pickle(path, inert=True)
    for i, line in enumerate(_outline('', value, 0, set())):
        if i == MAX_LINES:
            yield f'... more than {MAX_LINES} lines'
            return
        yield line


def _outline(label: str, value: Any, depth: int, path: set[int]) -> Iterator[str]:
    """Yields the line of a value and those of its parts.

    Args:
        label: Name of the value in its container.
        value: The value.
        depth: Number of containers around it.
        path: Ids of these containers.
    """
    head = f'{"  " * depth}{label}{": " if label else ""}'
    parts = list(_parts(value))
    if not parts:
        yield head + _short(value)
    elif id(value) in path:
        yield f'{head}{_title(value)} (itself, see above)'
    elif depth == MAX_DEPTH:
        yield f'{head}{_title(value)} (deeper than {MAX_DEPTH})'
    else:
        yield head + _title(value)
        for name, part in parts:
            yield from _outline(name, part, depth + 1, path | {id(value)})


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    """Returns the parts of a container by name, without empty tables of modules such as hooks."""
    if isinstance(value, (Module, TFNetwork)):
        return _filled(value.state)
    if isinstance(value, Opaque):
        state = value.state if type(value.state) is dict else {'state': value.state}
        args = {'args': value.args, 'items': value.items, 'pairs': value.pairs}
        return [*_filled(args), *_filled(state)]
    if type(value) is dict:
        return [(ascii(key)[:80], item) for key, item in value.items()]
    if type(value) in (list, tuple) and any(_is_structure(item) for item in value):
        return [(f'[{i}]', item) for i, item in enumerate(value)]
    return []


def _filled(table: dict[Any, Any]) -> list[tuple[str, Any]]:
    """Returns the entries of a table by name, without empty ones and source texts."""
    return [
        (ascii(key)[1:-1][:80] if type(key) is str else ascii(key)[:80], item)
        for key, item in table.items()
        if not (item is None or (type(item) in (dict, set, list, tuple) and not item) or key == '_orig_module_src')
    ]


def _is_structure(value: Any) -> bool:
    """Whether a value has parts, or needs a line of its own."""
    return type(value) in (dict, list, tuple) or isinstance(
        value, (Module, TFNetwork, Opaque, torch.Tensor, np.ndarray)
    )


def _title(value: Any) -> str:
    """Returns the line of a container."""
    if isinstance(value, Module):
        return f'{ascii(value.class_name)[1:-1][:80]} (source text sha256 {value.source_sha256[:16]})'
    if isinstance(value, TFNetwork):
        return 'dnnlib.tflib.network.Network'
    return str(value.ref) if isinstance(value, Opaque) else type(value).__name__


def _short(value: Any) -> str:
    """Returns a value without parts on one line."""
    if isinstance(value, torch.Tensor):
        return f'tensor {list(value.shape)} {str(value.dtype).removeprefix("torch.")}'
    if isinstance(value, np.ndarray):
        return f'array {list(value.shape)} {value.dtype}'
    if isinstance(value, Storage):
        return f'{value.kind} of {len(value.elements)}'
    if isinstance(value, Ref):
        return f'the name {value}'
    if isinstance(value, (Module, TFNetwork, Opaque)):
        return _title(value)
    if type(value) is bytes:
        return f'{len(value)} bytes'
    text = ascii(value[:40]) if type(value) in (list, tuple) else ascii(value)
    return text if len(text) <= MAX_CHARS else f'{text[:MAX_CHARS]}...'
