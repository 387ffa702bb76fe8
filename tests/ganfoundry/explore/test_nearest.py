"""The nearest training image: by features that the cache has, and otherwise a sentence that says how to get them."""

import io

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.errors import ConfigError, DataError
from ganfoundry.explore.nearest import TrainingImages
from ganfoundry.reals import data_sets
from ganfoundry.subjects import reference, whole
from metrics.cache import Cache
from metrics.detectors.interface import Features
from metrics.detectors.table import DETECTORS, Entry
from metrics.extraction import Extraction, Requirements
from metrics.reference import SeenReference
from metrics.spec import parse_metric
from tests.support.runs import make_zip
from training.run.snapshot import load_snapshot


class Pixels:
    """A detector whose features are the pixels."""

    name, digest, preprocessing, feature_dim, num_classes = 'pixels', 'd', 'none', 16 * 16 * 3, 0

    def __init__(self, device='cpu'):
        pass

    @classmethod
    def available(cls):
        return True

    def __call__(self, images):
        return Features(images.flatten(1).float(), None)


@pytest.fixture
def snapshot(narrow, tmp_path, monkeypatch):
    """A snapshot that learned from 40 images, which are here; an empty cache, and a detector that is quick."""
    monkeypatch.setenv('GANFOUNDRY_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr('ganfoundry.explore.nearest.DETECTORS', {'pixels': Entry(Pixels, '', Pixels.feature_dim, 0)})
    assert 'pixels' not in DETECTORS
    found = load_snapshot(narrow('auto'))
    data = found.record['config']['data']
    monkeypatch.setitem(found.record['config'], 'data', {**data, 'path': str(make_zip(tmp_path / 'tiny.zip'))})
    return found


def measure(snapshot):
    """Leaves features in the cache as metrics do; returns the images."""
    images = whole(data_sets(snapshot, None, None, needs_reals=True, notify=print).reals)
    reals = reference(images)

    def extract(missing: Requirements) -> Extraction:
        extraction = Extraction(Pixels.feature_dim, missing)
        for part in images.parts([range(len(images))]):
            extraction.append(Pixels()(torch.from_numpy(part)))
        return extraction

    SeenReference(reals, Pixels(), Cache(), 'reals').extraction(Requirements(features=len(images)), extract)
    return images


def test_without_features_it_says_which_command_keeps_them(snapshot):
    training = TrainingImages(snapshot, 'me.safetensors', torch.device('cpu'))
    with pytest.raises(ConfigError, match=r'calc_metrics.py --network=me.safetensors --metrics=mem_efflite1k_full'):
        training.nearest(np.zeros([3, 16, 16], np.uint8))
    assert parse_metric('mem_efflite1k_full').full
    with pytest.raises(ConfigError, match='0: no such training image'):
        training.png(0)


def test_the_image_itself_is_found_at_no_distance_and_shown(snapshot):
    images = measure(snapshot)
    training = TrainingImages(snapshot, 'me', torch.device('cpu'))
    for index in (0, 7, 39):
        image = images.image(index)
        found = training.nearest(image)
        assert (found.index, found.ratio, found.detector, found.num_images) == (index, 0, 'pixels', 40)
        with PIL.Image.open(io.BytesIO(training.png(index))) as picture:
            assert np.array_equal(np.asarray(picture), image.transpose(1, 2, 0))
    for index in (-1, 40):
        with pytest.raises(ConfigError, match='no such training image'):
            training.png(index)


def test_the_ratio_is_in_units_of_the_distance_to_its_own_neighbor(snapshot):
    images = measure(snapshot)
    reals = np.stack([images.image(index) for index in range(40)]).astype(float).reshape(40, -1)
    image = images.image(5).copy()
    image[:, :4] = 255 - image[:, :4]
    found = TrainingImages(snapshot, 'me', torch.device('cpu')).nearest(image)
    distances = np.linalg.norm(reals - image.reshape(-1), axis=1)
    own = np.linalg.norm(reals - reals[found.index], axis=1)
    assert found.index == distances.argmin()
    assert found.ratio == pytest.approx(distances.min() / np.delete(own, found.index).min())


def test_training_images_that_are_not_here_are_an_error_in_words(snapshot, monkeypatch):
    config = snapshot.record['config']
    monkeypatch.setitem(config, 'data', {**config['data'], 'path': 'gone.zip'})
    with pytest.raises(DataError, match='the images of its training'):
        TrainingImages(snapshot, 'me', torch.device('cpu')).nearest(np.zeros([3, 16, 16], np.uint8))
