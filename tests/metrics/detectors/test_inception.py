"""FID's Inception: the official network at every tap, resize and all."""

import json

import numpy as np
import pytest
import torch

from metrics.detectors.inception import InceptionV3, average_pool
from metrics.detectors.inception_detector import InceptionDetector
from metrics.detectors.network_detector import load_network
from metrics.detectors.random_weights import random_weights
from metrics.detectors.weights import Weights

TAPS = ('64', '192', '768', '2048', 'logits_unbiased', 'logits')

SIZES = ('64x64', '29x37')


@pytest.fixture(scope='module')
def numbers(golden):
    """Inputs and outputs of torch-fidelity's network with weights drawn by name."""
    with np.load(golden / 'inception_random_weights.npz') as file:
        return {name: torch.from_numpy(file[name]) for name in file if name != 'meta'}


@pytest.fixture(scope='module')
def tensors():
    return random_weights(InceptionV3)


@pytest.fixture(scope='module')
def detector():
    return InceptionDetector.random()


def relative(found, expected):
    """Returns the largest error as a share of the largest number of each image."""
    assert found.shape == expected.shape
    return float(((found - expected).abs().amax(dim=1) / expected.abs().amax(dim=1)).max())


def test_the_state_dict_is_the_official_one(golden, tensors):
    official = json.loads((golden / 'inception_state_dict.json').read_text())
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == official


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('folded', [False, True])
def test_every_tap_is_that_of_the_official_network(size, folded, numbers, tensors, detector):
    network = detector.network
    if not folded:
        network = load_network(InceptionV3, Weights(dict(tensors), '', ''))
    with torch.inference_mode():
        taps = network(detector.prepare(numbers[f'x_{size}']))
    assert tuple(taps) == TAPS
    for tap in TAPS:
        assert relative(taps[tap], numbers[f'{size}.{tap}']) < 1e-5, tap


def test_the_detector_takes_images_of_any_size_to_official_features(detector, numbers):
    for size in SIZES:
        found = detector(numbers[f'x_{size}'])
        assert relative(found.pooled, numbers[f'{size}.2048']) < 1e-5
        assert relative(found.probabilities, numbers[f'{size}.logits_unbiased'].softmax(dim=1)) < 1e-5
        assert (found.pooled.dtype, found.pooled.shape[1]) == (torch.float32, detector.feature_dim)
        assert found.probabilities.shape[1] == detector.num_classes


def test_features_repeat_grey_is_tiled_and_chunks_keep_the_order(detector, numbers, monkeypatch):
    gray = numbers['x_29x37'][:2, :1]
    whole = detector(gray).pooled
    assert torch.equal(detector(gray.repeat(1, 3, 1, 1)).pooled, whole)
    monkeypatch.setattr(detector, 'chunk_size', 1)
    assert relative(detector(gray).pooled, whole) < 1e-6


def test_average_pools_leave_the_padding_out():
    ones = torch.ones(1, 1, 4, 4)
    assert torch.equal(average_pool(ones), ones)
