"""Subjects and their reals: the data sets that metrics compare with, and shapes that do not fit."""

import dataclasses
import json
import zipfile

import pytest
import torch

from dnnlib.errors import DataError
from ganfoundry.subjects import draw_batch, of_images, reference, whole
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


def test_a_batch_fits_its_pixels_into_memory(data):
    small = ImageDataset(DataConfig(path=str(data))).spec
    assert draw_batch(small, torch.device('cpu')) == 64
    large = dataclasses.replace(small, resolution=1024)
    assert draw_batch(large, torch.device('cpu')) == 1
    assert draw_batch(large, torch.device('cuda')) == 16


def test_finished_images_have_no_seed_and_no_paths(data):
    images = ImageDataset(DataConfig(path=str(data)))
    subject = of_images(images)
    first, second = (next(iter(subject.fakes(4, seed)([range(4)]))) for seed in (0, 1))
    assert (first == second).all()
    assert subject.paths is None
    assert subject.record() == {'images': 'tiny', 'images_sha256': images.content_digest()}


def test_real_images_have_the_classes_of_their_file_even_if_the_run_ignores_them(data):
    labeled = ImageDataset(DataConfig(path=str(data), cond=True))
    expected = labeled.labels(range(24)).argmax(axis=1).tolist()
    for cond in (True, False):
        images = ImageDataset(DataConfig(path=str(data), cond=cond))
        assert reference(images).classes(24).tolist() == expected
        assert of_images(images).classes(10, seed=1).tolist() == expected[:10]


def test_classes_belong_to_the_images_that_the_seed_chose_for_a_subset(data):
    classes = {}
    for seed in (0, 3):
        labeled = ImageDataset(DataConfig(path=str(data), subset=9, cond=True), seed)
        classes[seed] = labeled.labels(range(9)).argmax(axis=1).tolist()
        assert reference(ImageDataset(DataConfig(path=str(data), subset=9), seed)).classes(9).tolist() == classes[seed]
    assert classes[0] != classes[3]


def test_labels_that_cannot_be_used_are_an_error_not_an_absence(data, tmp_path):
    with zipfile.ZipFile(data) as labeled, zipfile.ZipFile(tmp_path / 'bad.zip', 'w') as bad:
        for name in labeled.namelist():
            text = labeled.read(name)
            if name == 'dataset.json':
                text = json.dumps({'labels': json.loads(text)['labels'][1:]})
            bad.writestr(name, text)
    images = ImageDataset(DataConfig(path=str(tmp_path / 'bad.zip')))
    with pytest.raises(DataError, match=r'dataset\.json'):
        reference(images).classes(4)


def test_images_without_labels_have_no_classes(data, tmp_path):
    with zipfile.ZipFile(data) as labeled, zipfile.ZipFile(tmp_path / 'plain.zip', 'w') as plain:
        for name in labeled.namelist()[:4]:
            plain.writestr(name, labeled.read(name))
    assert reference(ImageDataset(DataConfig(path=str(tmp_path / 'plain.zip')))).classes(4) is None
