"""Features of real images are kept, and never used for other images."""

import dataclasses
import os
import zipfile

import numpy as np
import pytest
import torch

from metrics.detectors.interface import Features
from metrics.evaluate import MetricEvaluator
from metrics.reference import Reference
from training.data.dataset import DataConfig, ImageDataset


class Detector:
    name, digest, preprocessing = 'efflite', 'weights', 'v1'
    feature_dim, num_classes = 3, 0

    def __init__(self, **changes):
        self.num_seen = 0
        self.__dict__ |= changes

    def __call__(self, images):
        self.num_seen += len(images)
        return Features(images.float().mean(dim=(2, 3)), None)


@pytest.fixture
def make_zip(tmp_path, root):
    """A function that writes the first images of the embedded set, always to the same path with the same date."""
    with zipfile.ZipFile(root / 'training' / 'data' / 'embedded' / 'peeps64.zip') as source:
        names = sorted(name for name in source.namelist() if name.endswith('.png'))[:13]
        contents = [source.read(name) for name in names]

    def make(swap=None, count=12):
        with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as file:
            for index, name in enumerate(names[:count]):
                file.writestr(name, contents[12 if index == swap else index])
        os.utime(tmp_path / 'a.zip', (1e9, 1e9))
        return DataConfig(path=str(tmp_path / 'a.zip'))

    return make


def stream(images):
    """Returns existing images as a stream."""
    return lambda parts: (images[part.start : part.stop] for part in parts)


def measured(cfg, cache, names=('fd_efflite12', 'kid_efflite12'), **changes):
    """Returns the results, and the number of real images that the detector read for them."""
    dataset = ImageDataset(cfg)
    detector = Detector(**changes)
    reals = Reference(images=dataset.parts, num_images=len(dataset), content=dataset.content_digest)
    evaluator = MetricEvaluator(reals=reals, detector_for=lambda name: detector, cache=cache)

    def fakes(num_images, seed):
        detector.num_seen -= num_images
        images = torch.randint(0, 256, (num_images, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
        return stream(images.to(torch.uint8))

    return evaluator.evaluate(names, fakes=fakes), detector.num_seen


def test_a_second_run_reads_no_real_image_and_finds_the_same_numbers(make_zip, cache, warnings):
    first, num_read = measured(make_zip(), cache)
    assert num_read == 12
    assert measured(make_zip(), cache) == (first, 0)
    assert measured(make_zip(), None) == (first, 12)
    assert warnings == []


@pytest.mark.parametrize(
    ('swap', 'count', 'changes'),
    [
        (5, 12, {}),  # another image in the zip of the same name, size of the index and date
        (None, 11, {}),
        (None, 12, {'mirror': True, 'subset': 6}),
        (None, 12, {'subset': 11}),
        (None, 12, {'resolution': 32}),
    ],
)
def test_whatever_changes_the_numbers_is_computed_again(make_zip, cache, swap, count, changes):
    first, _ = measured(make_zip(), cache)
    other = dataclasses.replace(make_zip(swap, count), **changes)
    found, num_read = measured(other, cache)
    assert num_read > 0
    assert (found, num_read) == measured(other, None)
    assert found != first
    assert measured(make_zip(), cache) == (first, 0)


@pytest.mark.parametrize('change', [{'digest': 'others'}, {'preprocessing': 'v2'}, {'name': 'inception'}])
def test_another_detector_sees_for_itself(make_zip, cache, change):
    measured(make_zip(), cache)
    assert measured(make_zip(), cache, **change)[1] == 12


def test_the_number_of_reals_is_part_of_the_key(make_zip, cache):
    cfg = make_zip()
    first, num_read = measured(cfg, cache, names=['fd_efflite6', 'kid_efflite6'])
    whole, again = measured(cfg, cache, names=['fd_efflite6_full', 'kid_efflite6_full'])
    assert (num_read, again) == (6, 12)
    assert list(first.values()) != list(whole.values())


def test_a_damaged_entry_is_computed_again(make_zip, cache, warnings):
    first, _ = measured(make_zip(), cache)
    for path in cache.folder.iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    assert measured(make_zip(), cache) == (first, 12)
    assert len(warnings) == 2
    assert measured(make_zip(), cache) == (first, 0)


def test_nothing_is_kept_of_a_data_set_that_changes_while_it_is_read(cache, warnings):
    contents = iter(['before', 'after'])
    images = torch.randint(0, 256, (12, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    reals = Reference(images=stream(images), num_images=12, content=lambda: next(contents))
    evaluator = MetricEvaluator(reals=reals, detector_for=lambda name: Detector(), cache=cache)
    evaluator.evaluate(['fd_efflite12'], fakes=lambda num_images, seed: stream(images))
    assert warnings == ['real images for efflite: the data set changed while it was read; its features are not kept']
    assert not cache.folder.exists()


def test_without_a_cache_no_digest_is_asked_for(make_zip):
    def unread():
        raise AssertionError('the contents were read')

    dataset = ImageDataset(make_zip())
    reals = Reference(images=dataset.parts, num_images=12, content=unread)
    evaluator = MetricEvaluator(reals=reals, detector_for=lambda name: Detector())
    evaluator.evaluate(['fd_efflite12'], fakes=lambda num_images, seed: dataset.parts)


def test_statistics_in_the_cache_that_are_not_finite_are_computed_again(make_zip, cache, warnings, monkeypatch):
    first, _ = measured(make_zip(), cache)
    stored = cache.load

    def spoiled(fields):
        arrays = stored(fields)
        for array in (arrays or {}).values():
            array.reshape(-1)[-1] = np.nan
        return arrays

    monkeypatch.setattr(cache, 'load', spoiled)
    assert measured(make_zip(), cache) == (first, 12)
    assert warnings == [
        f'real images for efflite: the cache holds {what} that are not finite; they are computed again'
        for what in ('moments', 'features')
    ]
