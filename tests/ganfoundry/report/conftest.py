"""Run folders of every kind of ending."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.run_folders import write_run


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a run that is complete."""
    return write_run(tmp_path / '00000-finished')


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """The folder of a run that was stopped after 3 of 6 kimg, without a metric."""
    return write_run(tmp_path / '00001-interrupted', num_ticks=4, metrics=False, ending='stopped')
