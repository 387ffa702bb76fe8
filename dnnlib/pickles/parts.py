"""What `inert_pickle` makes of a pickle besides plain values, what a file may cost, and how its bytes are read."""

from __future__ import annotations

import abc
import io
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

Handler = Callable[[Any], Any]  # of a call's arguments, a tuple of anything; or of a persistent id
Handlers = Mapping[tuple[str, str], Handler | None]

_HASH_MODULUS = sys.hash_info.modulus


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a file may cost. Network pickles of 1024x1024 stay below a tenth of each."""

    file_bytes: int = 8 * 2**30
    opcodes: int = 5_000_000
    objects: int = 300_000  # strings, numbers, containers and memo entries: some 100 bytes of memory each
    text_bytes: int = 8 * 2**20  # of all str together, as stored; bytes objects are bounded by the file alone
    int_bytes: int = 16  # of one integer
    name_chars: int = 200  # of the module or the name of a global
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
    """What a handler may make that is no plain value and holds others."""

    def children(self) -> Iterable[Any]:
        """What it holds."""
        return ()


class Pending(Node, abc.ABC):
    """What a handler makes that is nothing until the file hands over its state (BUILD)."""

    result: Any = None

    @abc.abstractmethod
    def build(self, state: Any) -> Any:
        """The finished object, never None. ValueError when the state is not one."""


class Opaque(Node):
    """An object of a class that nobody here knows: its name, and what the file says about it. Made where inert=True."""

    def __init__(self, ref: Ref, args: tuple[Any, ...]) -> None:
        self.ref, self.args = ref, args
        self.state: Any = None
        self.items: list[Any] = []  # what list and set opcodes add
        self.pairs: list[tuple[Any, Any]] = []  # what dict opcodes add

    def children(self) -> Iterable[Any]:
        return (self.args, self.state, self.items, self.pairs)


def as_key(value: Any) -> Any:
    """A key of a dict or an item of a set: what cannot be made to collide, or to be hashed at length, on purpose.

    Tuples would be hashed to their bottom at every use; whole numbers from _HASH_MODULUS on share the hashes of others.
    """
    if value is None or type(value) in (str, bytes, bool, float) or (type(value) is int and abs(value) < _HASH_MODULUS):
        return value
    raise ValueError(f'a {type(value).__name__} as a key; expected text or a small number')


class ByteSource:
    """Bytes, read forwards. Nothing is read, and no memory taken, beyond the end."""

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
        """The next n bytes."""
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
        """A little-endian unsigned number of n bytes."""
        return int.from_bytes(self.take(n), 'little')

    def line(self, limit: int) -> str:
        """ASCII up to the next line feed, at most `limit` characters."""
        text = bytearray()
        while (char := self.take(1)) != b'\n':
            text += char
            if len(text) > limit:
                raise ValueError(f'a name of more than {limit} characters')
        return text.decode('ascii')
