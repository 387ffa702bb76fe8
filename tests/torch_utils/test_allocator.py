"""Tests of keeping freed memory: glibc is asked for it, and other systems are left alone."""

import ctypes
import sys
from types import SimpleNamespace

from torch_utils.allocator import M_MMAP_MAX, M_TOP_PAD, M_TRIM_THRESHOLD, keep_freed_memory


def test_glibc_is_asked_to_map_nothing_and_to_trim_nothing(monkeypatch):
    asked = {}
    libc = SimpleNamespace(mallopt=lambda option, value: asked.update({option: value}) or 1)
    monkeypatch.setattr(sys, 'platform', 'linux')
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: libc)
    assert keep_freed_memory()
    assert asked == {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 2**26}


def test_without_glibc_nothing_happens(monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, 'CDLL', absent)
    assert not keep_freed_memory()
    monkeypatch.setattr(sys, 'platform', 'win32')
    assert not keep_freed_memory()
