"""The meter: groups of metrics that share a network, and the record of a number."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry import meter as module
from ganfoundry.meter import Meter, by_detector, estimates_of
from ganfoundry.subjects import Subject, of_generator, of_images
from metrics.registry import METRICS, Metric, register_metric
from metrics.spec import parse_metric
from tests.support.measured import CPU, ToyDetector
from tests.support.runs import make_zip
from torch_utils.devices import gpu_products
from training.data.dataset import DataConfig, ImageDataset


@pytest.fixture
def images(tmp_path):
    return ImageDataset(DataConfig(path=str(make_zip(tmp_path / 'tiny.zip', num_images=24))))


@pytest.fixture
def meter(images, monkeypatch):
    monkeypatch.setattr(module, 'get_detector', lambda name, device: ToyDetector())
    return Meter(images, CPU)


def test_metrics_of_one_network_share_a_pass_and_each_path_has_its_own():
    names = ['fid50k_full', 'ppl2_wend', 'fd_efflite2k', 'kid50k_full', 'ppl_zend', 'fid50k_full']
    assert by_detector(names) == [['fid50k_full', 'kid50k_full'], ['ppl2_wend'], ['fd_efflite2k'], ['ppl_zend']]


def test_a_number_names_everything_that_it_depends_on(meter, images):
    subject = of_images(images)
    ((name, line),) = meter.measure(['fd_efflite16_full'], subject)
    assert name == line['metric'] == 'fd_efflite16_full'
    record = line['provenance']
    assert record.keys() == {
        *('detector', 'digest', 'preprocessing', 'num_reals', 'reals', 'num_fakes', 'reals_sha256', 'estimator'),
        *('images', 'images_sha256', 'seeds', 'replicates', 'versions', 'commit'),
    }
    assert record['estimator'] == 'fd, moments float64 v1, features float32 v1'
    assert record['num_reals'] == 24
    assert estimates_of(line)[name].value == line['results'][name]


def test_the_record_of_a_metric_that_reads_classes_has_their_digests(meter, images):
    subject = of_images(images)
    record = meter.provenance('div_efflite16_full', subject)
    assert record['fakes_classes_sha256'] != record['reals_classes_sha256']  # those of 16 and of 24 images
    unlabeled = dataclasses.replace(subject, classes=lambda num_images, seed: None)
    for name, what in (('fd_efflite16_full', subject), ('div_efflite16_full', unlabeled)):
        assert not [field for field in meter.provenance(name, what) if 'classes' in field]


def test_the_code_of_a_plugin_is_part_of_the_record(meter, images, monkeypatch):
    monkeypatch.setattr(METRICS, '_values', dict(METRICS._values))
    monkeypatch.setattr(METRICS, '_modules', dict(METRICS._modules))

    @register_metric('mine', pattern='mine_{}50k_full', lower_is_better=True)
    class Mine(Metric):
        def of(self, chosen, seed):
            return {'': float(len(chosen))}

    ((_, line),) = meter.measure(['mine_efflite16'], of_images(images))
    assert line['results'] == {'mine_efflite16': 16.0}
    assert [plugin['file'] for plugin in line['provenance']['plugins']] == [__file__]
    assert parse_metric('mine_efflite16').plugins == [__name__]
    assert parse_metric('ppl2_wend').modules == ['metrics.kinds.ppl']


def test_what_cannot_be_measured_is_refused_by_the_check(meter, images):
    with pytest.raises(ConfigError, match='images alone have no paths'):
        meter.check('ppl_zend16', of_images(images))
    with pytest.raises(ConfigError, match='needs at least 8: the ball of 3 neighbors'):
        meter.check('pr_efflite2', of_images(images))


def test_only_a_metric_with_a_sheet_draws_one(meter, images):
    subject = of_images(images)
    list(meter.measure(['fd_efflite16', 'mem_efflite16'], subject))
    assert meter.sheet('fd_efflite16', subject) is None
    assert meter.sheet('mem_efflite16', subject).shape[1] > 16 * 64  # 16 samples
    assert 'look most like real images' in meter.caption('mem_efflite16')


def test_generators_are_measured_in_ieee_float32_whatever_their_training_does(meter, images):
    seen = set()

    def fakes(num_images, seed):
        seen.update(product.fp32_precision for product in gpu_products())
        return images.parts

    subject = Subject(fakes=fakes, paths=None, record=dict, classes=lambda num_images, seed: None)
    before = [product.fp32_precision for product in gpu_products()]
    try:
        for product in gpu_products():
            product.fp32_precision = 'tf32'
        list(meter.measure(['fd_efflite16', 'mem_efflite16'], subject))
        meter.sheet('mem_efflite16', subject)
        assert {product.fp32_precision for product in gpu_products()} == {'tf32'}, 'that of the training'
    finally:
        for product, precision in zip(gpu_products(), before, strict=True):
            product.fp32_precision = precision
    assert seen == {'ieee'}


@pytest.mark.parametrize(('device', 'expected'), [('cpu', None), ('cuda', False)])
def test_the_record_of_a_generator_on_a_gpu_says_that_there_was_no_tf32(images, device, expected):
    class On(torch.nn.Module):
        def parameters(self):
            yield SimpleNamespace(device=torch.device(device))

    assert of_generator(On(), images.spec, None, precision='fp32').record().get('tf32') is expected
