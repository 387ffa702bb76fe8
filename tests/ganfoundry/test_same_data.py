"""Data of a continued run: known by their contents, wherever they are; others are refused, or noted."""

import dataclasses

import pytest

from dnnlib.errors import ConfigError, DataError
from ganfoundry.same_data import check_data, check_metric_data, data_digests, listing_of, moved, num_repaired, open_data
from tests.support.runs import make_zip
from training.config import RunConfig
from training.data.bad_images import ALWAYS_ALLOWED
from training.data.dataset import DataConfig, ImageDataset
from training.registry import RECIPES


def open_run(path, **fields):
    """Returns the config of a run on a data set, the data set, and the part of config.json about it."""
    dataset = ImageDataset(DataConfig(path=str(path)))
    cfg: RunConfig = dataclasses.replace(RECIPES.get('auto').make(dataset.spec, 1), data=dataset.cfg, **fields)
    return cfg, dataset, data_digests(cfg, dataset)


@pytest.fixture
def data(tmp_path):
    return make_zip(tmp_path / 'a.zip', num_images=8)


@pytest.mark.parametrize('check', ['listing', 'content'])
def test_the_same_images_elsewhere_are_a_note(tmp_path, data, check):
    cfg, dataset, record = open_run(data, data_check=check)
    assert check_data(record, cfg, cfg, dataset, dataset.spec) == ()
    there = data.rename(tmp_path / 'b.zip')
    now = moved(cfg, str(there))
    (note,) = check_data(record, cfg, now, open_data(now), dataset.spec)
    assert note == f'--data={there}: the same images as {data}, where the run began with them'


@pytest.mark.parametrize(('check', 'message'), [('listing', 'names, sizes'), ('content', 'the contents of its files')])
def test_other_images_are_refused_with_a_way_out_that_is_taken(tmp_path, data, check, message):
    cfg, dataset, record = open_run(data, data_check=check)
    other = make_zip(tmp_path / 'other.zip', num_images=8, classes=2)
    now = moved(cfg, str(other))
    with pytest.raises(ConfigError, match=message) as error:
        check_data(record, cfg, now, open_data(now), dataset.spec)
    assert '--set data_check=off continues with the present images' in str(error.value)
    (note,) = check_data(record, cfg, dataclasses.replace(now, data_check='off'), open_data(now), dataset.spec)
    assert 'the run continues with them, since data_check is off' in note


def test_images_of_another_form_are_refused_even_without_a_check(tmp_path, data):
    cfg, dataset, record = open_run(data, data_check='off')
    other = make_zip(tmp_path / 'other.zip', num_images=8, resolution=8)
    now = moved(cfg, str(other))
    with pytest.raises(ConfigError, match='8 images of 16x16, 3 channels then, 8 images of 8x8, 3 channels now'):
        check_data(record, cfg, now, open_data(now), dataset.spec)


def test_data_that_are_gone_are_named_with_the_option(data):
    cfg, *_ = open_run(data)
    data.unlink()
    with pytest.raises(DataError, match=r'the images of --data are not there any more; .*--data=NEW_PATH'):
        open_data(cfg)


def test_other_images_to_compare_with_are_a_note(tmp_path, data):
    reals = make_zip(tmp_path / 'reals.zip', num_images=4)
    cfg, _, record = open_run(data, metric_data=str(reals))
    assert record['metric_data'] == {'listing': listing_of(str(reals))}
    assert check_metric_data(record, cfg) == ()
    make_zip(reals, num_images=5)
    (note,) = check_metric_data(record, cfg)
    assert note == f'--metric-data={reals}: other images than before; metrics begin a new curve'
    assert check_metric_data({}, cfg) == ()


def test_a_few_changed_parts_are_repairs_and_more_are_other_images():
    before = {'names': 'n', 'parts': list(range(100))}
    assert num_repaired(before, before) == 0
    for num, expected in ((1, 1), (ALWAYS_ALLOWED, ALWAYS_ALLOWED), (ALWAYS_ALLOWED + 1, 0)):
        assert num_repaired(before, {'names': 'n', 'parts': [-1] * num + list(range(num, 100))}) == expected
    assert num_repaired(before, {'names': 'm', 'parts': [-1, *range(1, 100)]}) == 0
    assert num_repaired({'names': 'n'}, before) == 0
