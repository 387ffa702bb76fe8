"""Parts of `inert_pickle`: the objects it makes besides plain values, the limits, and the reader of bytes."""

from __future__ import annotations

import abc
import io
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

Handler = Callable[[Any], Any]  # takes the arguments of a call, an unchecked tuple; or a persistent id
Handlers = Mapping[tuple[str, str], Handler | None]

_HASH_MODULUS = sys.hash_info.modulus


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits of the cost of a file. Network pickles of 1024x1024 stay below a tenth of each."""

    file_bytes: int = 8 * 2**30
    opcodes: int = 5_000_000
    objects: int = 300_000  # strings, numbers, containers and memo entries: some 100 bytes of memory each
    pushes: int = 1_000_000  # values on the stack, also None and repeated ones: a place in a list or tuple each
    text_bytes: int = 8 * 2**20  # all str together, as stored; the size of the file bounds bytes objects
    int_bytes: int = 16  # one integer
    name_chars: int = 200  # the module or the name of a global
    depth: int = 100  # containers within containers, and marks on the stack
    seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Ref:
    """The name of a global. It is never resolved."""

    module: str
    name: str

    def __str__(self) -> str:
        return f'{ascii(self.module)[1:-1]}.{ascii(self.name)[1:-1]}'


class Node:
    """Base class of objects of handlers that are not plain values and hold others."""

    def children(self) -> Iterable[Any]:
        """Returns the objects that it holds."""
        return ()


class Pending(Node, abc.ABC):
    """Object of a handler that is incomplete until the file provides its state (BUILD)."""

    result: Any = None

    @abc.abstractmethod
    def build(self, state: Any) -> Any:
        """Returns the finished object, never None. ValueError if the state is invalid."""


class Opaque(Node):
    """Object of an unknown class: its name and what the file says about it. Made by inert reading only."""

    def __init__(self, ref: Ref, args: tuple[Any, ...]) -> None:
        self.ref, self.args = ref, args
        self.state: Any = None
        self.items: list[Any] = []  # added by the opcodes of lists and sets
        self.pairs: list[tuple[Any, Any]] = []  # added by the opcodes of dicts

    def children(self) -> Iterable[Any]:
        """Returns arguments, state, items and pairs."""
        return (self.args, self.state, self.items, self.pairs)


def as_key(value: Any) -> Any:
    """Returns a key of a dict or an item of a set; ValueError if a hostile file could use it to waste time.

    Tuples would be hashed to their bottom at every use; whole numbers from _HASH_MODULUS on share the hashes of others.
    """
    if value is None or type(value) in (str, bytes, bool, float) or (type(value) is int and abs(value) < _HASH_MODULUS):
        return value
    raise ValueError(f'a {type(value).__name__} as a key; expected text or a small number')


class ByteSource:
    """Reader of bytes, forwards only. Nothing beyond the end is read, and no memory is allocated for it."""

    def __init__(self, source: bytes | memoryview | BinaryIO, limit: int) -> None:
        self.pos = 0
        self._view: memoryview | None = None
        self._file: BinaryIO | None = None
        if isinstance(source, (bytes, memoryview)):
            self._view = memoryview(source).cast('B')
            self.size = len(self._view)
        else:
            self._file = source
            self.size = source.seek(0, io.SEEK_END)
            source.seek(0)
        if self.size > limit:
            raise ValueError(f'{self.size} bytes, more than the {limit} that are read')

    def take(self, n: int) -> bytes:
        """Returns the next n bytes."""
        end = self.pos + n
        if end > self.size:
            raise ValueError(f'the file is cut short: {n} bytes are announced, {self.size - self.pos} are left')
        if self._view is not None:
            data = self._view[self.pos : end].tobytes()
        else:
            assert self._file is not None
            data = self._file.read(n)
            if len(data) != n:
                raise ValueError('the file got shorter while it was read')
        self.pos = end
        return data

    def uint(self, n: int) -> int:
        """Returns a little-endian unsigned number of n bytes."""
        return int.from_bytes(self.take(n), 'little')

    def line(self, limit: int) -> str:
        """Returns the ASCII text up to the next line feed, at most `limit` characters."""
        text = bytearray()
        while (char := self.take(1)) != b'\n':
            text += char
            if len(text) > limit:
                raise ValueError(f'a name of more than {limit} characters')
        return text.decode('ascii')
