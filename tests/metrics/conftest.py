"""Shared by the tests of metrics: a cache of its own folder, and what it warns of."""

from pathlib import Path

import pytest

from metrics.cache import Cache


@pytest.fixture
def warnings() -> list[str]:
    """Warnings of `cache`, in order."""
    return []


@pytest.fixture
def cache(tmp_path: Path, warnings: list[str]) -> Cache:
    """An empty cache."""
    return Cache(tmp_path / 'cache', warnings.append)
