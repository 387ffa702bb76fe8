"""Damaged copies of bytes, a function of a number, for fuzz tests."""

from __future__ import annotations

import random
from collections.abc import Sequence

MARKS = (b'NaN', b'Infinity', b'-1', b'null', b'[]', b'{}', b'"', b'1e999', b'\x00', b'\xff\xff\xff\xff', b'9' * 30)


def mutated(data: bytes, case: int, pieces: Sequence[bytes] = MARKS) -> bytes:
    """Returns a copy of bytes with one to five changes: flipped, overwritten, inserted, removed, doubled, or cut off.

    Args:
        data: The bytes.
        case: Number of the copy; equal numbers give equal copies.
        pieces: Bytes that mean something in the format of `data`.
    """
    draw, changed = random.Random(case), bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(changed) + 1)
        kind = draw.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            piece = draw.choice(pieces)
            changed[at : at + len(piece)] = piece
        elif kind == 2:
            changed[at : at + draw.randrange(4)] = draw.choice(pieces) * draw.choice((1, 1, 2, 50))
        elif kind == 3:
            del changed[at : at + draw.choice((1, 4, 40, 200))]
        elif kind == 4:
            changed[at:at] = changed[max(at - draw.randrange(1, 200), 0) : at]
        elif kind == 5:
            del changed[at:]
        else:
            changed[at : at + 4] = draw.randrange(2**32).to_bytes(4, draw.choice(('big', 'little')))
    return bytes(changed)
