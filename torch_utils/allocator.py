"""Memory that is freed and wanted again a moment later, as every activation is, should not go back to the system."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> bool:
    """Tells glibc's malloc to keep what is freed, for the life of the process.

    By default every tensor above 32 MB is mapped afresh, and each of its pages faults at its first touch: for a pass
    that only reads and writes once, that costs more than the pass. Returns False where there is no glibc.
    """
    if not sys.platform.startswith('linux'):
        return False
    try:
        mallopt = ctypes.CDLL('libc.so.6').mallopt
    except (OSError, AttributeError):
        return False
    return all((mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, 2**31 - 1), mallopt(M_TOP_PAD, 2**26)))
