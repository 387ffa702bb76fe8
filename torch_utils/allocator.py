"""Memory allocator: freed memory, which the next activation will need again, stays with the process."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Makes glibc's malloc keep freed memory for the life of the process. Returns False without glibc.

    By default every tensor above 32 MB is mapped again, and each of its pages faults when first touched: for a pass
    that reads and writes once, this costs more than the pass itself.
    """
    if not sys.platform.startswith('linux'):
        return False
    try:
        mallopt = ctypes.CDLL('libc.so.6').mallopt
    except (OSError, AttributeError):
        return False
    never = -1
    return all((mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, never), mallopt(M_TOP_PAD, 2**26)))
