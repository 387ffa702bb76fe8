"""The model card: its numbers are those of the records, and hostile text stays text."""

import dataclasses
import json

import pytest

import ganfoundry as gf
from ganfoundry.export.card import card_of, config_of, plain
from ganfoundry.export.facts import Facts, Measured
from ganfoundry.export.public import public_record
from tests.support.narrow import make_snapshot
from training.interface import ImageSpec

yaml = pytest.importorskip('yaml')

HOSTILE = '<script>alert(1)</script> | `x` [a](https://evil.example)\n---\n# b: "c'
SPEC = ImageSpec(resolution=16, channels=3, label_dim=2, num_images=40)
FACTS = Facts(data_name='photos', data_digest='zip:abc', data_license=None, hours=12.34, measured=())
FID = Measured(
    metric='fid50k_full',
    key='fid50k_full',
    value=7.25,
    std=0.125,
    provenance={'detector': 'inception', 'digest': 'd1', 'num_fakes': 50000, 'reals_sha256': 'f' * 64},
)


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp('network') / 'network.safetensors'
    return gf.load(make_snapshot(path, 'dcgan', SPEC, (HOSTILE, 'dogs')), device='cpu')


def split(card):
    """Returns the front matter, parsed, and the page."""
    _, front, page = card.split('---\n', 2)
    return yaml.safe_load(front), page


def test_the_front_matter_has_what_the_hub_reads(network):
    front, _ = split(card_of(network, FACTS, license='cc0-1.0', official=False, onnx=False))
    assert front == {
        'license': 'cc0-1.0',
        'library_name': 'ganfoundry',
        'pipeline_tag': 'unconditional-image-generation',
        'tags': ['gan', 'image-generation', 'dcgan'],
    }


def test_each_metric_is_there_with_its_detector_and_its_error(network):
    facts = dataclasses.replace(FACTS, measured=(FID, dataclasses.replace(FID, key='other', std=None)))
    front, page = split(card_of(network, facts, license='mit', official=False, onnx=False))
    (model,) = front['model-index']
    assert model['name'] == 'dcgan on photos, 16x16'
    (result,) = model['results']
    assert result['dataset'] == {'name': 'photos', 'type': 'photos'}
    first, second = result['metrics']
    assert (first['type'], first['value'], first['name']) == ('fid50k_full', 7.25, 'fid50k_full = 7.25 ± 0.12')
    assert first['args'] == {
        'detector': 'inception',
        'standard_error': 0.125,
        'digest': 'd1',
        'num_fakes': 50000,
        'reals_sha256': 'f' * 64,
    }
    assert 'standard_error' not in second['args']
    assert '| `fid50k_full` | 7.25 ± 0.12 | inception | 50000 | ffffffffffffffff |' in page
    assert 'No metric of this snapshot is recorded.' not in page


def test_the_page_says_what_is_recorded_and_what_is_not(network):
    _, page = split(card_of(network, FACTS, license='mit', official=True, onnx=True))
    for text in (
        '| Digest of the data set | zip:abc |',
        '| License of the data set | not recorded |',
        '| Training | 1 thousand images shown, batch 4 |',
        '| Cost | 12.3 hours on one device |',
        'No metric of this snapshot is recorded.',
        'was not measured',
        "G = gf.load('model.safetensors')",
        "kwargs = json.loads(file.metadata()['G_kwargs'])",
        "session = onnxruntime.InferenceSession('generator.onnx')",
    ):
        assert text in page
    _, page = split(card_of(network, dataclasses.replace(FACTS, hours=None), license='mit', official=False, onnx=False))
    assert '| Cost | not recorded |' in page
    assert 'G_kwargs' not in page
    assert 'onnxruntime' not in page


def test_the_share_of_copies_is_named_if_it_was_measured(network):
    mem = dataclasses.replace(FID, metric='mem_efflite10k', key='mem_efflite10k', value=0.987, std=None)
    facts = dataclasses.replace(FACTS, measured=(mem,))
    _, page = split(card_of(network, facts, license='mit', official=False, onnx=False))
    assert 'Memorization: `mem_efflite10k` = 0.987, the share of generated images that are not copies' in page
    assert 'was not measured' not in page


def test_hostile_names_stay_text(network):
    facts = dataclasses.replace(
        FACTS, data_name=HOSTILE, measured=(dataclasses.replace(FID, provenance={'detector': HOSTILE}),)
    )
    front, page = split(card_of(network, facts, license='mit', official=False, onnx=False))
    assert front['model-index'][0]['results'][0]['dataset']['name'] == HOSTILE
    assert front['model-index'][0]['results'][0]['metrics'][0]['args']['detector'] == HOSTILE
    assert not any(text in page for text in ('<script', '](https', '`x`', '://evil', '\n# b'))
    assert all(line.count('|') in (0, 3, 6) for line in page.splitlines())


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('cc-by-nc-4.0', 'cc-by-nc-4.0'),
        ('a|b', 'a&#124;b'),
        ('https://a.b', 'https&#58;//a.b'),
        ('www.a.b', 'www&#46;a.b'),
        ('a\nb\x1b', 'a b '),
    ],
)
def test_punctuation_that_is_markup_is_written_as_references(text, shown):
    assert plain(text) == shown


def test_the_config_names_the_network_and_holds_its_record(network):
    config = json.loads(config_of(network, public_record(network), 'mit'))
    assert config['architectures'] == ['dcgan']
    assert (config['license'], config['network_sha256'], config['nimg']) == ('mit', network.sha256, 1000)
    assert config['config'] == network.snapshot.record['config']
