"""Blocks of GPU memory grow unless the user has set PyTorch's allocator."""

from __future__ import annotations

import os
import sys

import pytest

from dnnlib import gpu_memory


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not imported PyTorch, in which the user has set nothing."""
    for name in gpu_memory.VARIABLES:
        monkeypatch.setenv(name, '')  # is restored after the test
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, 'torch')


def test_a_fresh_process_and_its_children_let_blocks_grow() -> None:
    gpu_memory.grow_blocks()
    assert os.environ['PYTORCH_ALLOC_CONF'] == 'expandable_segments:True'


@pytest.mark.parametrize('name', gpu_memory.VARIABLES)
def test_the_settings_of_the_user_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, 'max_split_size_mb:64')
    gpu_memory.grow_blocks()
    assert {key: os.environ[key] for key in gpu_memory.VARIABLES if key in os.environ} == {name: 'max_split_size_mb:64'}


def test_after_pytorch_it_is_too_late_and_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'torch', object())
    gpu_memory.grow_blocks()
    assert 'PYTORCH_ALLOC_CONF' not in os.environ
