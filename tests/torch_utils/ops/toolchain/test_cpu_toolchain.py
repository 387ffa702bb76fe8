"""Tests of the tools for the CPU: where they are found, and what their error messages mean."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.torch_utils.ops.toolchain.test_build import needs_compiler, use_path
from torch_utils.ops.toolchain import cpu_toolchain


@needs_compiler
def test_ninja_beside_python_needs_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use_path(monkeypatch, tmp_path / 'bin', 'g++')
    beside = tmp_path / 'venv'
    beside.mkdir()
    (beside / 'ninja').write_text('')
    (beside / 'ninja').chmod(0o755)
    monkeypatch.setattr(sys, 'executable', str(beside / 'python'))
    assert cpu_toolchain.find_ninja() == str(beside / 'ninja')


@pytest.mark.parametrize(
    ('log', 'said'),
    [
        ('fatal error: error writing to /tmp/a.s: No space left on device', 'the disk is full; free some space'),
        ('a.cpp:1:10: fatal error: Python.h: No such file or directory', 'apt install python3-dev'),
        ('g++: fatal error: Killed signal terminated program cc1plus', 'memory ran out'),
        ("g++: error: unrecognized command-line option '-std=c++20'", 'too old, it does not know -std=c++20'),
        ('/usr/bin/ld: cannot find -lgomp: No such file or directory', 'the library -lgomp is missing'),
        ('ninja: error: something new\n', 'the compiler stopped: ninja: error: something new'),
        ('', 'the compiler stopped: it said nothing'),
    ],
)
def test_a_failed_build_says_what_is_missing(log: str, said: str):
    assert said in cpu_toolchain.explain(log)
