"""Reader of LMDB databases: the place of every value in the file, by key.

The format is that of `mdb_env_open` with data version 1 on a 64-bit little-endian machine. The file is read in pieces
and never mapped into memory, because reading a mapped file that is cut short ends the process (SIGBUS). Every number is
checked against the file before it is used.

A page begins with a header of 16 bytes: number u64, pad u16, flags u16, and then the bounds of its free space (lower,
upper, u16 each) or the number of its overflow pages (u32). Pages 0 and 1 hold the two newest roots. A branch has the
numbers of other pages, a leaf has keys and values; a value that does not fit lies on overflow pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _META, _KINDS = 0x01, 0x02, 0x08, 0x2F  # flags of a page, and the mask of those that state its kind
_BIG, _PLAIN_VALUE = 0x01, 0x00  # flags of a node in a leaf: value on overflow pages, value in the leaf
_PAGE_HEADER, _NODE_HEADER = 16, 8
_ORDERS = 0x02 | 0x08  # flags of a database that state the order of its keys; others store several values per key
_NO_PAGE = 2**64 - 1  # root of an empty database
_MAX_DEPTH = 32  # CURSOR_STACK of LMDB
_MIN_PAGE, _MAX_PAGE = 256, 2**16  # bytes

# After the page header: magic, version, address, size of the map, two databases, last page, transaction.
_META_FIELDS = struct.Struct('<IIQQ 48s48s QQ')
# pad (page size in the first database), flags, depth, branch pages, leaf pages, overflow pages, entries, root
_DATABASE_FIELDS = struct.Struct('<IHHQQQQQ')


class DamagedError(Exception):
    """A database that contradicts itself or its file."""


class Place(NamedTuple):
    """The place of a value in the file."""

    key: bytes
    offset: int
    size: int


def read_places(file: IO[bytes], file_bytes: int) -> Iterator[Place]:
    """Yields the places of all values, in the order of the keys.

    Args:
        file: The database (`data.mdb`), opened for reading in binary mode.
        file_bytes: Its size.

    Raises:
        DamagedError: The file is no database, is cut short, or is damaged.
    """
    return _Reader(file, file_bytes).places()


class _Reader:
    """The state of one reading."""

    def __init__(self, file: IO[bytes], file_bytes: int) -> None:
        self._file, self._file_bytes = file, file_bytes
        self._page_bytes, main, last_page = self._newest()
        fields = _DATABASE_FIELDS.unpack(main)
        self._flags, self._num_entries, self._root = fields[1], fields[6], fields[7]
        if (last_page + 1) * self._page_bytes > file_bytes:
            raise DamagedError(f'it has {file_bytes} bytes, and its index {last_page + 1} pages of {self._page_bytes}')
        self._num_pages = file_bytes // self._page_bytes
        self._seen: set[int] = set()

    def places(self) -> Iterator[Place]:
        """Yields the places of all values, in the order of the keys."""
        if self._flags & ~_ORDERS:
            raise DamagedError(f'it has the unknown properties {self._flags:#x}')
        if self._root == _NO_PAGE:
            return
        count = 0
        for place in self._walk(self._root, 1):
            count += 1
            yield place
        if count != self._num_entries:
            raise DamagedError(f'it holds {count} of {self._num_entries} entries')

    def _newest(self) -> tuple[int, bytes, int]:
        """Returns page size, main database and last page of the newest root."""
        page_bytes = _MIN_PAGE
        found: list[tuple[int, int, bytes, int]] = []  # transaction first
        for number in (0, 1):
            page = self._read(number * page_bytes, _PAGE_HEADER + _META_FIELDS.size)
            magic, version, _, _, free, main, last, transaction = _META_FIELDS.unpack_from(page, _PAGE_HEADER)
            if not struct.unpack_from('<H', page, 10)[0] & _META or magic != _MAGIC:
                raise DamagedError('it does not begin as an LMDB database does')
            if version != _VERSION:
                raise DamagedError(f'it has version {version} of the format; expected {_VERSION}')
            page_bytes = _DATABASE_FIELDS.unpack(free)[0]
            if not _MIN_PAGE <= page_bytes <= _MAX_PAGE or page_bytes & (page_bytes - 1):
                raise DamagedError(f'its pages are {page_bytes} bytes')
            found.append((transaction, page_bytes, main, last))
        _, page_bytes, main, last = max(found, key=lambda meta: meta[0])
        return page_bytes, main, last

    def _walk(self, number: int, depth: int) -> Iterator[Place]:
        """Yields the places of all values below a page."""
        if depth > _MAX_DEPTH or number in self._seen or not 2 <= number < self._num_pages:
            raise DamagedError(f'it points to page {number} again, or beyond its end')
        self._seen.add(number)
        page = self._read(number * self._page_bytes, self._page_bytes)
        own_number, _, flags, lower, upper = struct.unpack_from('<QHHHH', page)
        if own_number != number or not _PAGE_HEADER <= lower <= upper <= self._page_bytes:
            raise DamagedError(f'page {number} has a damaged header')
        nodes = struct.unpack_from(f'<{(lower - _PAGE_HEADER) // 2}H', page, _PAGE_HEADER)
        kind = flags & _KINDS
        if kind not in (_BRANCH, _LEAF):
            raise DamagedError(f'page {number} is neither a branch nor a leaf')
        for at in nodes:
            if not lower <= at <= self._page_bytes - _NODE_HEADER:
                raise DamagedError(f'page {number} has an entry beyond its end')
            low, high, node_flags, key_bytes = struct.unpack_from('<HHHH', page, at)
            if kind == _BRANCH:
                yield from self._walk(low | high << 16 | node_flags << 32, depth + 1)
            else:
                yield self._place(number, page, at + _NODE_HEADER, key_bytes, low | high << 16, node_flags)

    def _place(self, number: int, page: bytes, at: int, key_bytes: int, size: int, flags: int) -> Place:
        """Returns the place of a value.

        Args:
            number: Number of the leaf.
            page: The leaf.
            at: Offset of the key in the leaf.
            key_bytes: Length of the key.
            size: Length of the value.
            flags: Flags of the node.
        """
        if key_bytes == 0:
            raise DamagedError(f'page {number} has an entry without a key')
        value = at + key_bytes
        stored = 8 if flags == _BIG else size  # the number of a page, or the value itself
        if flags not in (_BIG, _PLAIN_VALUE) or value + stored > self._page_bytes:
            raise DamagedError(f'page {number} has a damaged entry')
        offset = number * self._page_bytes + value
        if flags == _BIG:
            offset = struct.unpack_from('<Q', page, value)[0] * self._page_bytes + _PAGE_HEADER
        if offset + size > self._file_bytes:
            raise DamagedError(f'page {number} has a value beyond the end of the file')
        return Place(page[at:value], offset, size)

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise DamagedError('it is cut short')
        return data
