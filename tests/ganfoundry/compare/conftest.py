"""A whole comparison of tiny generators, from two seeds."""

from pathlib import Path

import pytest

from tests.support.races import ROWS, in_process, race


@pytest.fixture(scope='session')
def data(labeled_data: Path) -> Path:
    """Labeled images of 16x16 pixels."""
    return labeled_data


@pytest.fixture(scope='session')
def compared(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The folder of a comparison with a row that cannot be trained."""
    out = tmp_path_factory.mktemp('compared')
    with pytest.MonkeyPatch.context() as patch:
        in_process(patch)
        race(out, data, *ROWS, '--seeds=0,1')
    return out
