"""A toy detector, a data set, and a run of three snapshots for the tests of measuring."""

import pytest

from ganfoundry import meter
from tests.support.measured import ToyDetector, make_run, tiny_config
from tests.support.runs import make_zip


@pytest.fixture
def detector(monkeypatch):
    toy = ToyDetector()
    monkeypatch.setattr(meter, 'get_detector', lambda name, device: toy)
    return toy


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip', num_images=24)


@pytest.fixture
def run(tmp_path, data):
    return make_run(tmp_path / 'run', tiny_config(data), (1000, 2000, 3000))
