"""Damaged copies of bytes, a function of a number, for fuzz tests."""

from __future__ import annotations

import random

MARKS = (b'NaN', b'Infinity', b'-1', b'null', b'[]', b'{}', b'"', b'1e999', b'\x00', b'\xff\xff\xff\xff', b'9' * 30)


def mutated(data: bytes, case: int) -> bytes:
    """Returns a copy of `data` with one to three changes: bytes flipped, cut, repeated, or replaced by a mark."""
    draw, changed = random.Random(case), bytearray(data)
    for _ in range(draw.randint(1, 3)):
        start = draw.randrange(len(changed) + 1)
        stop = min(start + draw.choice((1, 1, 4, 30, 200)), len(changed))
        kind = draw.randrange(5)
        if kind == 0 and start < len(changed):
            changed[start] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del changed[start:stop]
        elif kind == 2:
            changed[start:start] = changed[start:stop]
        elif kind == 3:
            changed[start:stop] = draw.choice(MARKS)
        else:
            del changed[start:]
    return bytes(changed)
