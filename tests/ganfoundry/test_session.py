"""A session: what is renamed, shared and compared."""

import pytest

from dnnlib.errors import ConfigError
from ganfoundry import meter
from ganfoundry.session import MeasureSettings, Session, comparisons
from ganfoundry.targets import Target
from tests.support.measured import CPU, ToyDetector, make_run, tiny_config
from tests.support.runs import make_zip


@pytest.fixture
def data(tmp_path):
    return make_zip(tmp_path / 'tiny.zip', num_images=24)


@pytest.fixture
def session(data, monkeypatch):
    """A session over finished images, and its messages."""
    monkeypatch.setattr(meter, 'get_detector', lambda name, device: ToyDetector())
    messages = []
    names = ('fd_efflite50k_full', 'fd_efflite16')
    return Session(MeasureSettings(names=names, device=CPU, data=str(data), replicates=2), messages.append), messages


def test_metrics_of_too_many_images_take_the_number_that_exists(session, data):
    session, messages = session
    opened = session.open(Target(path=data, is_images=True))
    assert opened.names == ('fd_efflite24_full', 'fd_efflite16')
    assert messages == [f'{data}: holds 24 images, so fd_efflite50k_full becomes fd_efflite24_full']


def test_targets_with_the_same_reals_share_a_meter_and_are_compared(tmp_path, session, data):
    session, _ = session
    other = make_zip(tmp_path / 'other.zip', num_images=24, classes=2)
    a, b = (session.open(Target(path=path, is_images=True)) for path in (data, other))
    assert a.meter is b.meter
    lines = list(session.measure(a)), list(session.measure(b))
    found = list(comparisons(a, b, lines))
    assert [line['comparison'] for line in found] == ['fd_efflite24_full', 'fd_efflite16']
    assert found[0]['networks'] == ('tiny.zip', 'other.zip')


def test_images_need_reals_and_a_network_brings_its_own(tmp_path, data, monkeypatch):
    monkeypatch.setattr(meter, 'get_detector', lambda name, device: ToyDetector())
    session = Session(MeasureSettings(names=('fd_efflite16',), device=CPU), lambda text: None)
    with pytest.raises(ConfigError, match='please specify --data'):
        session.open(Target(path=data, is_images=True))
    run = make_run(tmp_path / 'run', tiny_config(data), (1000,))
    opened = session.open(Target(path=run.snapshot(1000), is_images=False, folder=run))
    assert opened.place['data'] == 'tiny'
    assert opened.key('fd_efflite16') == 'fd_efflite16'
