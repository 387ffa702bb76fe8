"""Pickles as data: a stack machine that understands the opcodes and executes nothing.

A pickle is a program for a stack machine. This machine makes plain values (None, bool, int, float, str, bytes, list,
tuple, dict, set) and nothing else by itself. A global remains a name, `Ref`; a call of it looks up its exact (module,
name) among the caller's handlers. Nothing is imported, no attribute is looked up by a name from the file, and every
size is checked against the rest of the file before a byte is read.

Python's own `pickletools.genops` parses the argument of an opcode before the caller can reject the opcode, and
unescapes the names of globals, unlike `pickle`. Only its table of opcode names is used here, for messages.

Python 2's str (SHORT_BINSTRING, BINSTRING) becomes bytes, and so does bytearray.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from dnnlib.errors import UnsafeModelFile
from dnnlib.pickles.machine import Machine
from dnnlib.pickles.parts import ByteSource, Handler, Handlers, Limits, Node, Opaque, Pending, Ref, as_key

__all__ = [
    'PLAIN_HANDLERS',
    'Handler',
    'Handlers',
    'Limits',
    'Node',
    'Opaque',
    'Pending',
    'Ref',
    'check_nesting',
    'read_pickle',
    'read_prefix',
]

_NAMES = {op.code.encode('latin-1')[0]: op.name for op in pickletools.opcodes}
_WAY_OUT = 'nothing of it was executed; take the file from its source again, or ask its author for safetensors'


def _plain_set(args: tuple[Any, ...]) -> set[Any]:
    match args:
        case ():
            return set()
        case (list(items),):
            return {as_key(item) for item in items}
    raise ValueError('expected one list')


def _plain_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    if args:
        raise ValueError('expected no argument')
    return {}


def _latin1(args: tuple[Any, ...]) -> bytes:
    match args:
        case ():
            return b''
        case (str(text), 'latin1' | b'latin1'):
            return text.encode('latin-1')
    raise ValueError('expected text in latin1')


# Globals by which Python writes plain values that have no opcode.
PLAIN_HANDLERS: Handlers = {
    ('builtins', 'set'): _plain_set,
    ('__builtin__', 'set'): _plain_set,
    ('collections', 'OrderedDict'): _plain_dict,
    ('_codecs', 'encode'): _latin1,
    ('__builtin__', 'bytes'): _latin1,
}


def read_pickle(
    source: bytes | memoryview | BinaryIO,
    handlers: Handlers = PLAIN_HANDLERS,
    *,
    where: str,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    inert: bool = False,
) -> Any:
    """Returns the object in a pickle of protocol 2 to 5.

    Args:
        source: The whole pickle, or a file open for reading, whose bytes are then in memory once, not twice.
        handlers: Function of the call's arguments that makes the object, by (module, name); None for a global that may
            be mentioned but not called. A handler checks all its arguments, which come from the file, and raises
            ValueError.
        where: Name of the file, for messages.
        limits: Limits of the cost.
        inert: Whether to make an `Opaque` of every object of an unknown class and to allow cycles, to inspect foreign
            files.

    Returns:
        The object.

    Raises:
        UnsafeModelFile: If the file is damaged, costs too much, or asks for a global without a handler. The message
            names the file, the byte, the opcode and the global.
    """
    value, _ = _read(source, handlers, where, limits, inert, None, whole=True)
    return value


def read_prefix(
    source: bytes | memoryview | BinaryIO,
    handlers: Handlers = PLAIN_HANDLERS,
    *,
    where: str,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    inert: bool = False,
    persistent: Handler | None = None,
) -> tuple[Any, int]:
    """Reads a pickle that other data may follow.

    Args:
        source: As in `read_pickle`.
        handlers: As in `read_pickle`.
        where: As in `read_pickle`.
        limits: As in `read_pickle`.
        inert: As in `read_pickle`.
        persistent: Function of a persistent id, if the format has them.

    Returns:
        The object and the number of bytes that it takes.

    Raises:
        UnsafeModelFile: As in `read_pickle`.
    """
    return _read(source, handlers, where, limits, inert, persistent, whole=False)


def _read(
    source: bytes | memoryview | BinaryIO,
    handlers: Handlers,
    where: str,
    limits: Limits,
    inert: bool,
    persistent: Handler | None,
    *,
    whole: bool,
) -> tuple[Any, int]:
    start, code = 0, -1
    try:
        machine = Machine(ByteSource(source, limits.file_bytes), handlers, limits, inert, persistent)
        stopped = False
        while not stopped:
            start, code = machine.source.pos, -1
            try:
                stopped = machine.step()
            finally:
                code = machine.code
        value = machine.finish()
        if not inert:
            check_nesting(value, limits.depth)
        if whole and machine.source.pos < machine.source.size:
            raise ValueError('bytes follow the end of the pickle')
    except UnsafeModelFile:
        raise
    # Every error that a hostile file provokes becomes this one, so that callers can rely on it.
    except Exception as error:
        opcode = 'end of file' if code < 0 else _NAMES.get(code, f'opcode 0x{code:02x}')
        what = str(error) or type(error).__name__
        raise UnsafeModelFile(f'{where}: byte {start}, {opcode}: {what}; {_WAY_OUT}') from error
    return value, machine.source.pos


def check_nesting(root: Any, depth: int) -> None:
    """Raises ValueError if a container in `root` contains itself or containers nest deeper than `depth`."""
    heights: dict[int, int] = {}  # id -> depth of the containers in it, itself included; a shared one is visited once
    path: set[int] = set()
    todo: list[tuple[Any, Iterator[Any]]] = []

    def enter(value: Any) -> None:
        if id(value) in path:
            raise ValueError('a container that contains itself')
        if len(todo) >= depth:
            raise ValueError(f'containers nest deeper than {depth}')
        path.add(id(value))
        todo.append((value, iter(_children(value))))

    if _is_container(root):
        enter(root)
    while todo:
        value, rest = todo[-1]
        child = next((c for c in rest if _is_container(c) and id(c) not in heights), None)
        if child is not None:
            enter(child)
            continue
        height = 1 + max((heights[id(c)] for c in _children(value) if _is_container(c)), default=0)
        if height > depth:
            raise ValueError(f'containers nest deeper than {depth}')
        heights[id(value)] = height
        path.discard(id(value))
        todo.pop()


def _is_container(value: Any) -> bool:
    return type(value) in (list, tuple, dict) or isinstance(value, Node)


def _children(value: Any) -> Iterable[Any]:
    return value.values() if type(value) is dict else value.children() if isinstance(value, Node) else value
