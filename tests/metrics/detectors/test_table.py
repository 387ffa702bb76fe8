"""The table of detectors: true to the classes, complete without weights, and helpful where they are lacking."""

import subprocess
import sys

import pytest

from dnnlib.errors import ConfigError, UserError
from metrics.detectors import weights
from metrics.detectors.table import (
    DETECTORS,
    available,
    get_detector,
    provenance,
    register_detector,
    set_path,
    set_paths,
)
from metrics.detectors.vgg import Vgg16ConvDetector
from metrics.spec import parse_metric
from tests.support.no_weights import isolate


def class_of(name):
    return DETECTORS[name].load()


@pytest.mark.parametrize('name', DETECTORS)
def test_the_table_says_what_the_class_is(name):
    found = class_of(name)
    entry = DETECTORS[name]
    assert (found.name, found.feature_dim, found.num_classes) == (name, entry.feature_dim, entry.num_classes)


@pytest.mark.parametrize('name', ['inception', 'vgg16', 'vgg16conv'])
def test_absent_weights_are_one_sentence_and_not_available(name, tmp_path, monkeypatch):
    isolate(monkeypatch, tmp_path)
    assert not available(name)
    with pytest.raises(UserError) as caught:
        get_detector(name)
    message = str(caught.value)
    edition = class_of(name).source.editions[0]
    for part in (edition.url or edition.package[2], edition.sha256, f'--detector-path={DETECTORS[name].weights}='):
        assert part in message
    assert '\n' not in message


def test_weights_that_are_there_are_available(tmp_path, monkeypatch):
    isolate(monkeypatch, tmp_path)
    monkeypatch.setenv('GANFOUNDRY_DETECTORS', str(tmp_path))
    (tmp_path / 'inception-2015-12-05.pt').touch()
    assert available('inception')
    with pytest.raises(UserError, match='its sha256 is'):
        get_detector('inception')


def test_a_path_goes_to_the_weights_of_that_name(tmp_path, monkeypatch):
    isolate(monkeypatch, tmp_path)
    (tmp_path / 'w.ckpt').touch()
    set_path(f'lpips={tmp_path / "w.ckpt"}')
    assert weights.named_path('lpips') == tmp_path / 'w.ckpt'
    assert available('vgg16conv')
    assert not available('vgg16')


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('inception', 'expected NAME=FILE'),
        ('inception=', 'expected NAME=FILE'),
        ('vgg16conv=x.ckpt', '--detector-path=lpips=FILE'),
        ('efflite=x.pth', 'its package'),
        ('mine=x.pt', 'size=224'),
        ('inception=/no/such/file.pth', 'no such file'),
    ],
)
def test_an_option_that_cannot_work_says_what_would(option, message, tmp_path, monkeypatch):
    isolate(monkeypatch, tmp_path)
    before = dict(DETECTORS)
    with pytest.raises(ConfigError, match=message) as caught:
        set_path(option)
    assert option in str(caught.value)
    assert before == DETECTORS


@pytest.mark.slow
def test_the_table_needs_no_torch():
    code = 'import sys, metrics.detectors.table; assert "torch" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)


def test_a_record_says_what_measured():
    detector = Vgg16ConvDetector.random()
    assert provenance(detector) == {
        'detector': 'vgg16conv',
        'digest': detector.digest,
        'preprocessing': detector.preprocessing,
        'edition': 'random',
    }
    assert len(detector.digest) == 64


@pytest.fixture
def table():
    """The table of detectors, restored after the test."""
    before = dict(DETECTORS)
    yield DETECTORS
    DETECTORS.clear()
    DETECTORS.update(before)


def test_a_registered_class_joins_the_table_with_its_attributes(table, tmp_path):
    @register_detector('thumb', feature_dim=12, weights='thumbs')
    class Thumb:
        digest, preprocessing = 'none', 'v1'

        def __init__(self, device='cpu'):
            self.device = device

        @classmethod
        def available(cls):
            return True

    assert (Thumb.name, Thumb.feature_dim, Thumb.num_classes) == ('thumb', 12, 0)
    assert available('thumb')
    assert get_detector('thumb', 'cuda').device == 'cuda'
    assert parse_metric('fd_thumb50k_full').detector == 'thumb'
    with pytest.raises(ConfigError, match='no such file'):
        set_path('thumbs=/no/such/file')
    with pytest.raises(ConfigError, match='thumb has no file of its own'):
        set_path(f'thumb={tmp_path}')


def test_the_name_of_another_detector_is_refused_with_both_modules(table):
    with pytest.raises(ConfigError, match=rf'efflite.*twice: by metrics.detectors.efficientnet and by {__name__}'):
        register_detector('efflite', feature_dim=1)(type('Mine', (), {'__module__': __name__}))
    with pytest.raises(ConfigError, match='lower-case letters and digits'):
        register_detector('My-Net', feature_dim=1)


def test_the_page_on_detectors_names_every_file_with_its_digest(root):
    page = (root / 'docs' / 'detectors.md').read_text()
    for name in ('inception', 'vgg16', 'vgg16conv'):
        for edition in class_of(name).source.editions:
            assert edition.sha256 in page
            assert edition.filename in page
    for name, entry in DETECTORS.items():
        assert f'`{name}`' in page
        assert str(entry.feature_dim) in page


@pytest.mark.parametrize('name', ['Inception', 'incepton'])
def test_a_near_miss_of_a_network_is_answered_with_the_name_that_is_meant(name):
    with pytest.raises(ConfigError, match="did you mean 'inception'"):
        set_path(f'{name}=FILE.pt')


def test_a_network_whose_file_is_named_twice_is_refused():
    with pytest.raises(ConfigError, match='names vgg16 twice; give one of them'):
        set_paths(['vgg16=a.pth', 'inception=b.pt', 'vgg16=c.pth'])
