"""LPIPS with random weights in place of the published ones, for tests of GLeaD on any machine."""

from __future__ import annotations

import pytest

from metrics.detectors.lpips import LpipsAlex
from training.objective.glead import GLeaD


@pytest.fixture(scope='session')
def random_lpips() -> LpipsAlex:
    """One network for all tests of a process."""
    return LpipsAlex.random()


@pytest.fixture
def lpips(monkeypatch: pytest.MonkeyPatch, random_lpips: LpipsAlex) -> LpipsAlex:
    """LPIPS with random weights, which GLeaD uses during a test."""
    monkeypatch.setattr(LpipsAlex, 'available', classmethod(lambda cls: True))
    monkeypatch.setattr(GLeaD, 'lpips', random_lpips)
    return random_lpips
