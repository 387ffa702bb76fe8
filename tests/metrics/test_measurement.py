"""Samples: prefixes of a stream, through a detector."""

import torch

from metrics.detectors.interface import Features
from metrics.extraction import Extraction, Requirements
from metrics.measurement import ImageSample
from tests.support.features import moments, randn


def test_a_sample_is_a_prefix_with_its_statistics():
    pooled, probabilities = randn(30, 5), randn(30, 4, seed=1).softmax(dim=1)
    extraction = Extraction(5, Requirements(moments=frozenset({12}), features=20, probabilities=30))
    extraction.append(Features(pooled, probabilities))
    sample = ImageSample(extraction, 12)
    assert torch.equal(sample.features, pooled[:12])
    assert torch.equal(sample.probabilities, probabilities[:12])
    assert all(torch.equal(a, b) for a, b in zip(sample.moments, moments(pooled[:12]), strict=True))
    assert sample.features is sample.features  # moved to the device once
