"""Subjects and their reals: the data sets that metrics compare with, and shapes that do not fit."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from dnnlib.errors import DataError
from ganfoundry.subjects import check_shape, draw_batch, of_images, reference, reference_data, whole
from tests.support.measured import tiny_config
from tests.support.runs import make_zip
from training.data.dataset import DataConfig, ImageDataset


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip', num_images=24)


def test_the_whole_set_has_neither_subset_nor_flips(data):
    plain = ImageDataset(DataConfig(path=str(data)))
    assert whole(plain) is plain
    some = ImageDataset(DataConfig(path=str(data), subset=5, mirror=True))
    assert (len(some), len(whole(some))) == (10, 24)
    assert reference(some).num_images == 10
    assert reference(whole(some)).digest == reference(plain).digest != reference(some).digest


def test_a_run_compares_with_its_metric_data(tmp_path, data):
    other = make_zip(tmp_path / 'other.zip', num_images=30)
    cfg = tiny_config(data)
    dataset = ImageDataset(cfg.data)
    assert reference_data(cfg, dataset) is dataset
    assert len(reference_data(dataclasses.replace(cfg, metric_data=str(other)), dataset)) == 30
    small = make_zip(tmp_path / 'small.zip', num_images=3, resolution=8)
    with pytest.raises(DataError, match=r'--metric-data=.*metrics compare images of one shape'):
        reference_data(dataclasses.replace(cfg, metric_data=str(small)), dataset)


def test_labels_may_differ_and_shapes_may_not(tmp_path, data):
    reals = ImageDataset(DataConfig(path=str(data)))
    check_shape(reals, ImageDataset(DataConfig(path=str(data), cond=True)).spec, '--data')
    gray = ImageDataset(DataConfig(path=str(make_zip(tmp_path / 'gray.zip', num_images=3, channels=1))))
    with pytest.raises(DataError, match='--data='):
        check_shape(gray, reals.spec, '--data')


def test_a_batch_fits_its_pixels_into_memory(data):
    small = ImageDataset(DataConfig(path=str(data)))
    assert draw_batch(small, torch.device('cpu')) == 64
    large = SimpleNamespace(spec=dataclasses.replace(small.spec, resolution=1024))
    assert draw_batch(large, torch.device('cpu')) == 1
    assert draw_batch(large, torch.device('cuda')) == 16


def test_finished_images_have_no_seed_and_no_paths(data):
    images = ImageDataset(DataConfig(path=str(data)))
    subject = of_images(images)
    first, second = (next(iter(subject.fakes(4, seed)([range(4)]))) for seed in (0, 1))
    assert (first == second).all()
    assert subject.paths is None
    assert subject.record() == {'images': 'tiny', 'images_sha256': images.content_digest()}
