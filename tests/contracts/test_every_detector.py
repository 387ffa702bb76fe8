"""The contract of every detector of the table, with random weights: no file of weights is needed."""

import importlib.util

import pytest
import torch

from metrics.detectors.network_detector import NetworkDetector
from metrics.detectors.table import DETECTORS
from metrics.spec import parse_metric

HAS_TRANSFORMERS = importlib.util.find_spec('transformers') is not None
NAMES = [name for name in DETECTORS if HAS_TRANSFORMERS or not name.startswith('dinov2')]
IMAGES = torch.randint(0, 256, (3, 3, 20, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture(scope='module', params=NAMES)
def detector(request):
    found = DETECTORS[request.param].load()
    assert issubclass(found, NetworkDetector)
    return found.random()


def test_its_row_of_the_table_is_true(detector):
    entry = DETECTORS[detector.name]
    assert (detector.feature_dim, detector.num_classes) == (entry.feature_dim, entry.num_classes)
    assert parse_metric(f'fd_{detector.name}_50k_full').detector == detector.name
    assert len(detector.digest) == 64
    assert detector.preprocessing.startswith('v')


def test_features_have_the_declared_form_and_repeat_bit_for_bit(detector):
    before = IMAGES.clone()
    found, again = detector(IMAGES), detector(IMAGES)
    assert found.pooled.shape == (3, detector.feature_dim)
    assert found.pooled.dtype == torch.float32
    assert found.pooled.isfinite().all()
    assert torch.equal(found.pooled, again.pooled)
    assert torch.equal(IMAGES, before)
    if detector.num_classes:
        assert found.probabilities.shape == (3, detector.num_classes)
        assert torch.allclose(found.probabilities.sum(dim=1), torch.ones(3), atol=1e-4)
    else:
        assert found.probabilities is None


def test_gray_and_transparent_images_are_seen_as_rgb(detector):
    gray, opaque = IMAGES[:1, :1], torch.cat([IMAGES[:1], torch.full_like(IMAGES[:1, :1], 255)], dim=1)
    assert torch.equal(detector(gray).pooled, detector(gray.expand(-1, 3, -1, -1)).pooled)
    assert torch.equal(detector(opaque).pooled, detector(IMAGES[:1]).pooled)
