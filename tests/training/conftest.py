"""Fixtures shared by the tests of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.loops import loops_in
from training.data.dataset import DataConfig, ImageDataset
from training.loop import Loop


@pytest.fixture(scope='session')
def dataset() -> ImageDataset:
    """The embedded images at 8x8, without labels."""
    return ImageDataset(DataConfig(resolution=8))


@pytest.fixture
def make_loop(tmp_path: Path) -> Iterator[Callable[..., tuple[Loop, bool]]]:
    """A function that runs the loop of a tiny run, see `tests.support.loops`."""
    original = Loop.end_nimg
    yield loops_in(tmp_path)
    Loop.end_nimg = original  # type: ignore[method-assign]
